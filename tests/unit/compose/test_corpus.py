"""`darse compose config` on the corpus: the normal form that docker compose prints, or an error with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.cli import entry
from tests.support import compose_cases


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project's directory, the working directory; no variable of compose is set."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setattr("os.environ", {"HOME": "/root", "PATH": "/usr/bin:/bin"})
    return project


def test_the_corpus_has_cases() -> None:
    assert len(compose_cases.names()) >= 60


@pytest.mark.parametrize("name", compose_cases.names())
def test_config(name: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = compose_cases.case(name)
    case.write(directory)
    status = entry.run(["compose", *case.arguments])
    printed = capsys.readouterr()
    if "stdout" in case.results:
        assert (status, printed.out.replace(str(directory), "DIRECTORY")) == (0, case.results["stdout"]), printed.err
    else:
        lines = [line for line in printed.err.splitlines(keepends=True) if not line.startswith("WARNING: ")]
        assert "".join(lines).replace(str(directory), "DIRECTORY") == case.results["error"]
        assert (status, printed.out) == (1, "")
