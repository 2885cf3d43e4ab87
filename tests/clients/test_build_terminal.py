"""`--progress tty` in a real terminal: what is on the screen while stages run, and at the end."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from tests.clients.test_buildx_build import BASE, BUILDX, Project
from tests.support.engine import Engine
from tests.support.terminal import Terminal

pytestmark = pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)")
_SECONDS = re.compile(r" (\d+\.\d)s$")
_HEAD = re.compile(r"\[\+\] Building \d+\.\ds \((\d+)/(\d+)\)( FINISHED)?")
_COMMANDS = {"docker build": ("build",), "docker buildx build": ("buildx", "build"), "darse build": ("build",)}


@pytest.fixture(params=_COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Project:
    return Project(engine, tmp_path)


def building(project: Project, command: str, *arguments: str) -> Terminal:
    client = project.engine.darse if command.startswith("darse") else project.engine.docker
    words = (*_COMMANDS[command], "--progress", "tty", *arguments, str(project.context))
    return Terminal((client.program, *words), {**client.environment, **project.environment})


def rows(lines: list[str], name: str) -> list[float]:
    """The seconds of the steps that are called so."""
    found = [_SECONDS.search(line) for line in lines if line.startswith(" => ") and name in line]
    return [float(one[1]) for one in found if one is not None]


def head(lines: list[str]) -> re.Match[str]:
    """The last line that says how far the build is."""
    found = [match for line in lines if (match := _HEAD.match(line)) is not None]
    assert found, "\n".join(lines)
    return found[-1]


def test_stages_that_run_beside_each_other_are_on_the_screen(project: Project, command: str) -> None:
    """They run until another build lets them go: both seconds rise from one screen to the next."""
    key = str(time.time_ns())
    cache = "--mount=type=cache,id=terminal,target=/both"
    stages = [
        f"FROM {BASE} AS {name}\nRUN {cache} echo {name} waits; until test -e /both/{key}; do sleep 0.05; done\n"
        for name in ("one", "two")
    ]
    last = f"FROM {BASE}\nRUN --mount=from=one,target=/1 --mount=from=two,target=/2 true\n"
    project.write("".join(stages) + last)
    release = project.root / "release"
    release.mkdir()
    (release / "Dockerfile").write_text(f"FROM {BASE}\nRUN {cache} touch /both/{key}\n")
    with building(project, command) as terminal:
        names = ("[one 2/2] RUN", "[two 2/2] RUN")
        first = terminal.wait(lambda lines: all(rows(lines, name) for name in names))
        before = {name: rows(first, name)[0] for name in names}
        seen = terminal.wait(lambda lines: all(rows(lines, name)[0] > before[name] + 0.3 for name in names))
        done, known, finished = head(seen).groups()
        assert int(done) + 2 <= int(known)
        assert finished is None
        assert any("# one waits" in line or "=> => # one waits" in line for line in seen)
        project.engine.darse("build", "-q", str(release)).ok()
        end = terminal.end()
    assert terminal.status == 0
    done, known, finished = head(end).groups()
    assert (done, finished) == (known, " FINISHED")
    assert rows(end, "stage-2 2/2] RUN")
    steps = [line for line in end if line.startswith(" => ")]
    assert len({line for line in steps if " => => " not in line}) >= int(known) - 1
    assert all(_SECONDS.search(line) for line in steps), "\n".join(end)
    # The picture was drawn over itself: each step is there once.
    assert sum(line.startswith("[+] Building") for line in end) == 1
    assert [len(rows(end, name)) for name in names] == [1, 1]


def test_a_step_that_fails_shows_the_lines_of_the_dockerfile(project: Project, command: str) -> None:
    project.write(f"FROM {BASE}\nRUN true\nRUN echo before && \\\n    exit 7\nRUN true\n")
    with building(project, command) as terminal:
        end = terminal.end()
    assert terminal.status == 1
    shown = "\n".join(end)
    assert any(line.startswith(" => ERROR [3/4] RUN echo before") for line in end), shown
    assert "Dockerfile:3" in shown
    assert "   3 | >>> RUN echo before && \\" in shown
    assert "   4 | >>>     exit 7" in shown
    assert "exit code: 7" in "".join(end)  # it goes on in the next line


def test_what_is_cached_says_so(project: Project, command: str) -> None:
    project.write(f"FROM {BASE}\nRUN echo {time.time_ns()} > /file\n")
    with building(project, command) as terminal:
        terminal.end()
    with building(project, command) as terminal:
        end = terminal.end()
    assert terminal.status == 0
    assert any(line.startswith(" => CACHED [2/2] RUN") for line in end), "\n".join(end)
