"""Filters of the builds that clients list."""

from __future__ import annotations

import time

import pytest

from darse.build.errors import BuildError
from darse.build.history import BuildState, BuildSummary
from darse.buildkit.services.history_filters import HistoryFilters

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOW = time.time_ns()
BUILDS = {
    "old": BuildSummary(id="old", state=BuildState.BUILT, begun_ns=NOW - 3 * HOUR, ended_ns=NOW - 2 * HOUR),
    "failed": BuildSummary(
        id="failed",
        state=BuildState.FAILED,
        begun_ns=NOW - 600 * SECOND,
        ended_ns=NOW - 590 * SECOND,
        remote="https://example.com/some/project.git#main:sub",
    ),
    "cancelled": BuildSummary(id="cancelled", state=BuildState.CANCELLED, begun_ns=NOW - SECOND, ended_ns=NOW),
    "running": BuildSummary(id="running", state=BuildState.RUNNING, begun_ns=NOW - 60 * SECOND),
}
ATTRIBUTES = {"old": {"vcs:source": "https://example.com/other.git", "context": "https://example.com/x.git"}}


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        ([], {"old", "failed", "cancelled", "running"}),
        (["status==error"], {"failed"}),
        (["status==completed", "status==canceled"], {"old", "cancelled"}),
        (["status!=running"], {"old", "failed", "cancelled"}),
        (["ref~=^(old|fail)"], {"old", "failed"}),
        (["ref==old"], {"old"}),
        (["ref~=e,status==error"], {"failed"}),
        (["repository"], {"old", "failed"}),
        (["repository~=project"], {"failed"}),
        (["repository==https://example.com/other.git"], {"old"}),
        (["startedAt>=1h"], {"failed", "cancelled", "running"}),
        (["startedAt<2001-02-03T04:05:06Z"], set()),
        (["completedAt>30m"], {"failed", "cancelled"}),
        (["duration>5m"], {"old"}),
        (["duration<=10s,status!=running"], {"failed", "cancelled"}),
        (['"ref~=a,b"'], set()),
    ],
    ids=lambda value: ";".join(sorted(value)) or "none",
)
def test_what_is_shown(filters: list[str], shown: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darse.core.times.time.time_ns", lambda: NOW)
    chosen = HistoryFilters(filters)
    assert {name for name, build in BUILDS.items() if chosen.matches(build, ATTRIBUTES.get(name, {}))} == shown


@pytest.mark.parametrize(
    "text",
    ["name==x", "status=error", "ref~=(", "startedAt==1h", "startedAt>=soon", "duration>1", '"ref==x', "status<x"],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(BuildError, match="invalid filter"):
        HistoryFilters([text])
