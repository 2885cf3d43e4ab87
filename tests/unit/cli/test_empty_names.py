"""`darse logs "$ID"` with a variable that is not set: docker's words, and nothing asked of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.cli import entry
from tests.support.fake_engine import FakeEngine


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        *((line, "container") for line in ("attach", "start", "start -a", "top", "port", "diff", "logs", "wait")),
        *((line, "container") for line in ("export", "update -m 50m", "stats --no-stream")),
        ("network rm", "network"),
    ],
)
def test_an_empty_name_is_said_to_be_one(
    line: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DARSE_HOST", f"unix://{tmp_path}/fake.sock")
    with FakeEngine(tmp_path):
        assert entry.run([*line.split(), ""]) == 1
    assert f"invalid {kind} name or ID: value is empty\n" in capsys.readouterr().err
