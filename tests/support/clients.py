"""Third-party clients that neither Debian nor PyPI have: built with Go, or fetched by npm, and kept in a cache.

    make clients                                    # all that this machine has the tools for
    .venv/bin/python -m tests.support.clients crane

Nothing here is needed by other tests; those of a client that is not there are skipped by its name. A client of which
the cache has another version is brought again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
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
    "docker-compose-newest": Source(
        "github.com/docker/compose/v5", "v5.6.0", "./cmd", "github.com/docker/compose/v5/internal.Version"
    ),
    "docker-buildx": Source(
        "github.com/docker/buildx", "v0.30.1", "./cmd/buildx", "github.com/docker/buildx/version.Version"
    ),
    "docker-buildx-newest": Source(
        "github.com/docker/buildx", "v0.38.2", "./cmd/buildx", "github.com/docker/buildx/version.Version"
    ),
    # What was newest two years ago.
    "docker-buildx-old": Source(
        "github.com/docker/buildx", "v0.19.1", "./cmd/buildx", "github.com/docker/buildx/version.Version"
    ),
    "buildctl": Source("github.com/moby/buildkit", "v0.34.2", "./cmd/buildctl"),
    "buildkitd": Source("github.com/moby/buildkit", "v0.34.2", "./cmd/buildkitd"),
    # BuildKit's own front end, as its image has it.
    "dockerfile-frontend": Source(
        "github.com/moby/buildkit", "v0.34.2", "./frontend/dockerfile/cmd/dockerfile-frontend"
    ),
    "jaeger": Source("github.com/jaegertracing/jaeger", "v1.76.0", "./cmd/all-in-one"),
    "h2spec": Source("github.com/summerwind/h2spec", "v2.2.1+incompatible", "./cmd/h2spec"),
}
# Programs of this project's own on modules that have none: by the name of their directory below `programs`.
PROGRAMS = {
    "collector": (
        "v0.165.0",
        tuple(
            f"go.opentelemetry.io/collector/{module}"
            for module in ("otelcol", "receiver/otlpreceiver", "exporter/debugexporter")
        ),
    ),
    "cadvisor": ("v0.56.2", ("github.com/google/cadvisor",)),
}
PACKAGES = {"axe-core": "4", "dockerode": "4", "testcontainers": "11"}


# Go compiles so many packages at a time: each takes up to a gigabyte of memory, and other work goes on meanwhile.
_COMPILERS = 2
_NPM = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=60000")


def found(program: str) -> str | None:
    """A client's path: in the cache, installed, or beside the virtual environment."""
    places = [str(CACHE / "bin"), os.environ["PATH"], str(REPOSITORY / ".venv" / "libexec")]
    return shutil.which(program, path=os.pathsep.join(places))


def build(name: str) -> None:
    """Build a program. Raises CalledProcessError.

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
        if not (directory / "go.mod").exists():  # older than modules
            directory = shutil.copytree(directory, Path(scratch) / "source", copy_function=shutil.copyfile)
            directory.chmod(0o755)
            for command in (["init", source.module], ["tidy"]):
                subprocess.run(["go", "mod", *command], cwd=directory, check=True)
        for file in ("go.mod", "go.sum"):
            (Path(scratch) / file).write_bytes((directory / file).read_bytes())
        flags = "-s -w"
        if source.version_variable:
            flags += f" -X {source.version_variable}={source.version}"
        options = [f"-p={_COMPILERS}", "-mod=mod", f"-modfile={scratch}/go.mod", "-buildvcs=false", "-ldflags", flags]
        made = str(CACHE / "bin" / f".{name}")
        # Static: some run in containers that have no C library.
        environment = {**os.environ, "CGO_ENABLED": "0"}
        subprocess.run(
            ["go", "build", *options, "-o", made, source.package], cwd=directory, env=environment, check=True
        )
    # Its version is written down last: what is interrupted is built again.
    stamp = _stamp(name)
    stamp.unlink(missing_ok=True)
    os.replace(made, CACHE / "bin" / name)
    stamp.write_text(source.version)


def build_own(name: str) -> None:
    """Build a program of ours that stands on modules of one version. Raises CalledProcessError."""
    version, modules = PROGRAMS[name]
    (CACHE / "bin").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copyfile(Path(__file__).parent / "programs" / name / "main.go", Path(scratch) / "main.go")
        made = str(CACHE / "bin" / f".{name}")
        required = [f"-require={module}@{version}" for module in modules]
        for command in (
            ["mod", "init", f"example.org/{name}"],
            ["mod", "edit", *required],
            ["mod", "tidy"],
            ["build", f"-p={_COMPILERS}", "-buildvcs=false", "-ldflags", "-s -w", "-o", made, "."],
        ):
            subprocess.run(["go", *command], cwd=scratch, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
    _stamp(name).unlink(missing_ok=True)
    os.replace(made, CACHE / "bin" / name)
    _stamp(name).write_text(version)


def fetch(name: str) -> None:
    """Fetch a package with npm. Raises CalledProcessError."""
    subprocess.run([*_NPM, "--prefix", str(NODE_MODULES.parent), f"{name}@{PACKAGES[name]}"], check=True)


def is_there(name: str) -> bool:
    """Whether a client need not be brought: it is in the cache in this version, or was installed by other means."""
    if name in PACKAGES:
        described = NODE_MODULES / name / "package.json"
        return described.exists() and json.loads(described.read_text())["version"].split(".")[0] == PACKAGES[name]
    if (CACHE / "bin" / name).exists():
        version = PROGRAMS[name][0] if name in PROGRAMS else SOURCES[name].version
        return _stamp(name).exists() and _stamp(name).read_text() == version
    return found(name) is not None


def _stamp(name: str) -> Path:
    return CACHE / "bin" / f".{name}.version"


def main(names: list[str]) -> int:
    """Bring the clients that are named, or all, but those that are there; return how many could not be brought."""
    failed = 0
    for name in names or [*SOURCES, *PROGRAMS, *PACKAGES]:
        if is_there(name):
            continue
        if name in PROGRAMS:
            tool, version, bring = "go", PROGRAMS[name][0], build_own
        elif name in SOURCES:
            tool, version, bring = "go", SOURCES[name].version, build
        else:
            tool, version, bring = "npm", PACKAGES[name], fetch
        if shutil.which(tool) is None:
            print(f"{name} is left out: {tool} is not installed")
            continue
        print(f"bringing {name} {version} with {tool}", flush=True)
        begun = time.monotonic()
        try:
            bring(name)
        except subprocess.CalledProcessError as error:
            failed += 1
            print(f"{name} is left out: {tool} ended with {error.returncode}; is there a network?", flush=True)
        else:
            print(f"{name} is there after {time.monotonic() - begun:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
