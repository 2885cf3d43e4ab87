"""docker compose v2, unmodified, and `darse compose config` on the same files: the same model, and the same hashes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import compose_cases
from tests.support.clients import found

COMPOSE = found("docker-compose")
pytestmark = pytest.mark.skipif(COMPOSE is None, reason="docker compose is not installed (make clients)")
DARSE = str(Path(sys.executable).with_name("darse"))
_ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/root"}


def _run(program: list[str], arguments: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, *arguments], cwd=directory, env=_ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", compose_cases.names())
@pytest.mark.parametrize("flags", [[], ["--format", "json"], ["--no-interpolate"], ["--no-normalize"]], ids=" ".join)
def test_the_same_model(name: str, flags: list[str], tmp_path: Path) -> None:
    if name == "build-all" and "json" in flags:
        pytest.skip("docker compose prints no JSON of an ssh key with a path")
    case = compose_cases.case(name)
    directory = tmp_path / "project"
    directory.mkdir()
    case.write(directory)
    theirs = _run([str(COMPOSE)], [*case.arguments, *flags], directory)
    ours = _run([DARSE, "compose"], [*case.arguments, *flags], directory)
    assert (ours.returncode == 0) == (theirs.returncode == 0), (ours.stderr, theirs.stderr)
    if name == "build-all":  # docker compose prints the keys of `ssh` in any order
        assert sorted(ours.stdout.splitlines()) == sorted(theirs.stdout.splitlines())
    else:
        assert ours.stdout.rstrip("\n") == theirs.stdout.rstrip("\n")


@pytest.mark.parametrize(
    "name", [name for name in compose_cases.names() if "stdout" in compose_cases.case(name).results]
)
def test_the_same_hashes(name: str, tmp_path: Path) -> None:
    case = compose_cases.case(name)
    directory = tmp_path / "project"
    directory.mkdir()
    case.write(directory)
    arguments = [*case.arguments[: case.arguments.index("config") + 1], "--hash", "*"]
    assert _run([DARSE, "compose"], arguments, directory).stdout == _run([str(COMPOSE)], arguments, directory).stdout


@pytest.mark.parametrize(
    "flags",
    [
        ["--variables", "--format", "json"],
        ["--variables", "--format", "yaml"],
        ["--lock-image-digests"],
        ["--resolve-image-digests"],
    ],
    ids=" ".join,
)
def test_variables_and_digests(flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        f"""
name: pinned
services:
  web: {{image: "team/web:1@sha256:{"0" * 64}", environment: {{A: "${{A:-1}}", B: "${{B:+yes}}", C: $C}}}}
  own: {{build: ., labels: {{one: "${{D-${{E:-2}}}}"}}}}
"""
    )
    theirs, ours = (_run(tool, ["config", *flags], tmp_path) for tool in ([str(COMPOSE)], [DARSE, "compose"]))
    assert (ours.returncode, ours.stdout.strip()) == (theirs.returncode, theirs.stdout.strip()), ours.stderr
