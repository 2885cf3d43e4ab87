"""BuildKit's own front end for Dockerfiles, from an image, in the place of the one that is built in.

`make clients` builds it, where Go is installed.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from tests.clients.test_buildx_build import BASE, BUILDX, Project
from tests.support.clients import found
from tests.support.engine import Engine

PROGRAM = found("dockerfile-frontend")
pytestmark = [
    pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)"),
    pytest.mark.skipif(PROGRAM is None, reason="BuildKit's front end is not there (make clients)"),
]
FRONTEND = "foreign/frontend:1"
PROJECTS = {
    "files": f"FROM {BASE}\nCOPY --chmod=640 --chown=3:4 a b /d/\nWORKDIR /w\nRUN echo 1 > x && ln -s x y\nENV A=b\n",
    "stages": (
        f"ARG V=1\nFROM {BASE} AS one\nARG V\nRUN --mount=type=cache,target=/c echo $V > /v\n"
        f'FROM {BASE}\nCOPY --from=one --link /v /v\nCOPY <<EOF /here\ntext\nEOF\nUSER 7\nCMD ["x"]\n'
    ),
    "context": f"FROM {BASE}\nCOPY --exclude=b . /all/\nRUN --mount=target=/m cat /m/a > /read\n",
}


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Project:
    made = Project(engine, tmp_path)
    frontend = tmp_path / "frontend"
    frontend.mkdir()
    shutil.copy(str(PROGRAM), frontend / "frontend")
    (frontend / "Dockerfile").write_text(
        "FROM scratch\nCOPY frontend /bin/frontend\n"
        "LABEL moby.buildkit.frontend.caps=moby.buildkit.frontend.inputs,moby.buildkit.frontend.contexts,"
        'moby.buildkit.frontend.subrequests\nENTRYPOINT ["/bin/frontend"]\n'
    )
    made.docker("build", "-q", "-t", FRONTEND, str(frontend)).ok()
    return made


def tree(project: Project, image: str) -> str:
    """All that an image has, with owners, modes and contents."""
    pruned = " ".join(f"-path ./{name} -prune -o" for name in ("proc", "sys", "dev", "etc", "bin", "usr", "lib"))
    script = f"cd / && find . {pruned} -exec stat -c '%n %a %u %g %F %N' {{}} + | sort"
    script += "; cat /d/* /w/x /v /here /read /all/* 2>/dev/null; true"
    return project.docker("run", "--rm", "-u", "0", "--entrypoint", "sh", image, "-c", script).ok().out


def configuration(project: Project, image: str) -> str:
    shown = "{{.Config.Env}} {{.Config.Cmd}} {{.Config.User}} {{.Config.WorkingDir}} {{.Config.Entrypoint}}"
    return project.docker("image", "inspect", "--format", shown, image).ok().out


@pytest.mark.parametrize("name", PROJECTS)
def test_it_builds_what_the_built_in_one_builds(project: Project, name: str) -> None:
    project.write(PROJECTS[name], a="of a\n", b="of b\n")
    project.build("-t", "own").ok()
    built = project.build("-t", "foreign", "--build-arg", f"BUILDKIT_SYNTAX={FRONTEND}").ok()
    assert f"[internal] frontend {FRONTEND}" in built.err
    assert tree(project, "foreign") == tree(project, "own")
    assert configuration(project, "foreign") == configuration(project, "own")


def test_its_errors_show_the_lines(project: Project) -> None:
    project.write(f"# syntax={FRONTEND}\nFROM {BASE}\nRUNN true\n")
    failed = project.build()
    assert failed.status == 1
    assert "unknown instruction: RUNN" in failed.err
    assert "   3 | >>> RUNN true" in failed.err


def test_it_answers_questions(project: Project) -> None:
    project.write(f"# syntax={FRONTEND}\nFROM {BASE} AS one\nFROM one AS two\n")
    assert "two (default)" in project.build("--call", "targets").ok().out


def test_an_image_that_is_no_front_end_fails(project: Project) -> None:
    project.write(f"# syntax={BASE}\nFROM {BASE}\n")
    begun = time.monotonic()
    failed = project.build(timeout=60)
    assert failed.status == 1
    assert time.monotonic() - begun < 30
    project.write("# syntax=none/such:1\nFROM scratch\n")
    assert "none/such" in project.build(timeout=60).err
