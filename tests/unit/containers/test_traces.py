"""What is on record of operations while their container goes."""

from __future__ import annotations

from pathlib import Path

from darse.containers.traces import TraceStore


def test_what_ends_after_its_container_is_removed_joins_the_rest_of_its_record(tmp_path: Path) -> None:
    traces = TraceStore()
    with traces.record("start", "c1"):
        pass
    with traces.record("rm", "c1"):
        traces.container_removed("c1", "gone")
        assert _told(traces, tmp_path) == {("gone", "start")}
    assert _told(traces, tmp_path) == {("gone", "start"), ("gone", "rm")}
    assert traces.last("c1", None, tmp_path).name == "start"


def _told(traces: TraceStore, directory: Path) -> set[tuple[str, str]]:
    return {(one["container"], one["name"]) for one in traces.summary({}, lambda _: directory)}
