"""Third-party clients that neither Debian nor PyPI have: built with Go, or fetched by npm, and kept in a cache.

    make clients                                    # all that this machine has the tools for
    .venv/bin/python -m tests.support.clients crane

Nothing here is needed by other tests; those of a client that is not there are skipped by its name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.support.engine import REPOSITORY

CACHE = Path(os.environ.get("DARSE_CLIENTS_CACHE", "~/.cache/darse-clients")).expanduser()
NODE_MODULES = CACHE / "node" / "node_modules"


class Source(NamedTuple):
    """A program in a Go module; `version_variable` is what its build is to set to the version."""

    module: str
    version: str
    package: str
    version_variable: str = ""


SOURCES = {
    "crane": Source("github.com/google/go-containerregistry", "v0.20.2", "./cmd/crane"),
    "docker-compose": Source(
        "github.com/docker/compose/v2", "v2.40.3", "./cmd", "github.com/docker/compose/v2/internal.Version"
    ),
    "docker-buildx": Source(
        "github.com/docker/buildx", "v0.30.1", "./cmd/buildx", "github.com/docker/buildx/version.Version"
    ),
}
PACKAGES = {"dockerode": "4", "testcontainers": "11"}


def found(program: str) -> str | None:
    """A client's path: in the cache, installed, or beside the virtual environment."""
    places = [str(CACHE / "bin"), os.environ["PATH"], str(REPOSITORY / ".venv" / "libexec")]
    return shutil.which(program, path=os.pathsep.join(places))


def build(name: str) -> None:
    """Build a program. Raises CalledProcessError, and FileNotFoundError without Go.

    `go install MODULE@VERSION` refuses modules that exclude or replace others, so it is built in the module's own
    directory, with a copy of its go.mod: that directory is read-only.
    """
    source = SOURCES[name]
    downloaded = subprocess.run(
        ["go", "mod", "download", "-json", f"{source.module}@{source.version}"],
        cwd="/",
        check=True,
        stdout=subprocess.PIPE,
    )
    directory = Path(json.loads(downloaded.stdout)["Dir"])
    (CACHE / "bin").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for file in ("go.mod", "go.sum"):
            (Path(scratch) / file).write_bytes((directory / file).read_bytes())
        flags = "-s -w"
        if source.version_variable:
            flags += f" -X {source.version_variable}={source.version}"
        options = ["-mod=mod", f"-modfile={scratch}/go.mod", "-buildvcs=false", "-ldflags", flags]
        subprocess.run(
            ["go", "build", *options, "-o", str(CACHE / "bin" / name), source.package], cwd=directory, check=True
        )


def main(names: list[str]) -> None:
    """Bring the clients that are named, or all, but those that are there."""
    wanted = names or [*SOURCES, *PACKAGES]
    for name in wanted:
        if name in SOURCES and found(name) is None:
            if shutil.which("go") is None:
                print(f"{name} is left out: Go is not installed")
                continue
            print(f"building {name} {SOURCES[name].version}", flush=True)
            build(name)
        elif name in PACKAGES and not (NODE_MODULES / name).exists():
            if shutil.which("npm") is None:
                print(f"{name} is left out: npm is not installed")
                continue
            prefix = str(NODE_MODULES.parent)
            subprocess.run(
                ["npm", "install", "--silent", "--no-audit", "--prefix", prefix, f"{name}@{PACKAGES[name]}"], check=True
            )


if __name__ == "__main__":
    main(sys.argv[1:])
