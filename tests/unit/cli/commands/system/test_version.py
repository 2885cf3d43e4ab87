"""`version`: the times of builds, and the warning when command and engine are of different ones."""

from __future__ import annotations

from typing import Any

import pytest

from darse import revision
from darse.cli.commands.system.version import _date
from tests.unit.cli.fake import run


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-28T18:04:05Z", "Sat Nov 28 18:04:05 2026"),
        ("2024-02-29T00:00:00Z", "Thu Feb 29 00:00:00 2024"),
        ("2026-01-02T03:04:05.123Z", "2026-01-02T03:04:05.123Z"),
        ("", ""),
    ],
)
def test_times_of_builds(text: str, shown: str) -> None:
    assert _date(text) == shown


@pytest.mark.parametrize(
    ("ours", "theirs", "platform", "warned"),
    [
        ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "darse", True),
        ("aaaaaaaaaaaa", "aaaaaaaaaaaa", "darse", False),
        ("", "bbbbbbbbbbbb", "darse", False),
        ("aaaaaaaaaaaa", "", "darse", False),
        ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "Docker Engine - Community", False),
    ],
)
def test_an_engine_of_another_build(
    ours: str,
    theirs: str,
    platform: str,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(revision, "identity", lambda: (ours, "2026-11-28T18:04:05Z"))
    server: dict[str, Any] = {"Version": "1", "ApiVersion": "1.51", "GitCommit": theirs, "Platform": {"Name": platform}}
    run(["version"], {("GET", "/version"): server})
    said = capsys.readouterr().err
    assert ("the engine is build bbbbbbbbbbbb, and this command is build aaaaaaaaaaaa" in said) is warned
    assert ("`darse system restart`" in said) is warned
