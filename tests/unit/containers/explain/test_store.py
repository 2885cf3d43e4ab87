"""What was done to containers, and what is said when that is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.containers.traces import TraceStore
from darse.core.errors import NotFound


def test_what_is_not_on_record_is_said_to_be_so(tmp_path: Path) -> None:
    traces, container = TraceStore(), "c" * 64
    with pytest.raises(NotFound, match=r"^no operation is on record for container c{12} \(on record: none\)$"):
        traces.last(container, None, tmp_path)
    with traces.record("start", container):
        pass
    assert traces.last(container, None, tmp_path).name == "start"
    with pytest.raises(NotFound, match=r'^no "stop" is on record for container c{12} \(on record: start\)$'):
        traces.last(container, "stop", tmp_path)
