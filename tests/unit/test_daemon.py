"""What `darsed` sets up for its event loop."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from darse import daemon


def test_waiting_for_a_process_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop waits for a new thread's start, which takes long on a busy machine."""
    started = []
    monkeypatch.setattr(threading.Thread, "start", started.append)

    async def main() -> int | None:
        daemon._watch_children_by_descriptor()
        process = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 7")
        return await process.wait()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        assert runner.run(main()) == 7
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(None)
    assert started == []
