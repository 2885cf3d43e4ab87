"""What builds of clients leave in the history beside their records."""

from __future__ import annotations

import threading
import zlib

import pytest

from darse.build.history import AttachmentCollector
from darse.build.progress import VertexLog
from darse.buildkit.progress import ProgressLog
from darse.buildkit.solving.recording import attach_progress


async def test_megabytes_of_output_do_not_hold_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """60,000 lines took 150 ms to write down, hash and compress."""
    threads: set[threading.Thread] = set()
    recorded, compress = ProgressLog.recorded, zlib.compress

    def noted(progress: ProgressLog) -> bytes:
        threads.add(threading.current_thread())
        return recorded(progress)

    def noted_compress(data: bytes, level: int) -> bytes:
        threads.add(threading.current_thread())
        return compress(data, level)

    monkeypatch.setattr(ProgressLog, "recorded", noted)
    monkeypatch.setattr(zlib, "compress", noted_compress)
    progress, collected = ProgressLog(), AttachmentCollector("dockerfile.v0", {})
    progress(VertexLog("sha256:" + "a" * 64, 1, b"a line\n"))
    await attach_progress(collected, progress)
    assert threads
    assert threading.main_thread() not in threads
    (one,) = collected.attachments().listed
    content = zlib.decompress(collected.contents[one.digest])
    assert (len(content), content) == (one.size, recorded(progress))
