"""What is on record of operations while their container goes, and what is said when nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.containers.traces import TraceStore
from darse.core.errors import NotFound


def test_what_ends_after_its_container_is_removed_joins_the_rest_of_its_record(tmp_path: Path) -> None:
    traces = TraceStore()
    with traces.record("start", "c1"):
        pass
    with traces.record("rm", "c1"):
        traces.container_removed("c1", "gone")
        assert _told(traces, tmp_path) == {("gone", "start")}
    assert _told(traces, tmp_path) == {("gone", "start"), ("gone", "rm")}
    assert traces.last("c1", None, tmp_path).name == "start"


def test_what_is_not_on_record_is_said_to_be_so(tmp_path: Path) -> None:
    traces, container = TraceStore(), "c" * 64
    with pytest.raises(NotFound, match=r"^no operation is on record for container c{12} \(on record: none\)$"):
        traces.last(container, None, tmp_path)
    with traces.record("start", container):
        pass
    assert traces.last(container, None, tmp_path).name == "start"
    with pytest.raises(NotFound, match=r'^no "stop" is on record for container c{12} \(on record: start\)$'):
        traces.last(container, "stop", tmp_path)


def _told(traces: TraceStore, directory: Path) -> set[tuple[str, str]]:
    return {(one["container"], one["name"]) for one in traces.summary({}, lambda _: directory)}
