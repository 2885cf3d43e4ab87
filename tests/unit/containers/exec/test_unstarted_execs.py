"""An exec that nobody starts goes after a while, and one that was started stays."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from darse.containers.exec.pool import RECORD, monitor_directory_of
from darse.containers.exec.records import Exec, ExecRecord
from darse.containers.exec.service import ExecService
from darse.containers.listeners import LifecycleListeners
from darse.core.errors import NotFound
from darse.wire.execs import ExecConfig

FIVE_MINUTES = 300.0


async def test_it_goes_after_five_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[float, Any, tuple[Any, ...]]] = []

    def call_later(delay: float, callback: Any, *arguments: Any) -> SimpleNamespace:
        timers.append((delay, callback, arguments))
        return SimpleNamespace(cancel=lambda: None)

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    # An engine that takes over counts from its own start.
    for name in ("waits", "runs"):
        bundle = monitor_directory_of(tmp_path, name, "c1")
        bundle.exits.mkdir(parents=True)
        Exec(ExecRecord(name, "c1", ExecConfig(Cmd=["true"])), bundle, cast(Any, None)).save()
    context = SimpleNamespace(
        files=SimpleNamespace(execs=tmp_path),
        store=SimpleNamespace(find=lambda reference: SimpleNamespace(id=reference)),
        listeners=LifecycleListeners(),
        null=None,
        hold_monitor=lambda pid: None,
    )
    service = ExecService(cast(Any, context), cast(Any, None))
    service.recover({})
    assert [delay for delay, *_ in timers] == [FIVE_MINUTES, FIVE_MINUTES]
    assert service.inspect("waits").ExitCode is None
    cast(Any, service)._execs["runs"].record.started = True
    for _, callback, arguments in timers:
        callback(*arguments)
    with pytest.raises(NotFound, match="No such exec instance: waits"):
        service.inspect("waits")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert service.inspect("runs").Running


def test_the_record_of_a_newer_engine_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "newer"
    directory.mkdir()
    (directory / RECORD).write_bytes(b'{"document_version":2}')
    context = SimpleNamespace(
        files=SimpleNamespace(execs=tmp_path),
        store=SimpleNamespace(find=lambda _: None),
        listeners=LifecycleListeners(),
        null=None,
        hold_monitor=lambda pid: None,
        log=logging.getLogger("darse.containers"),
    )
    service = ExecService(cast(Any, context), cast(Any, None))
    service.recover({})
    assert (directory / RECORD).exists()
    assert "was written by a newer darse" in caplog.text
    with pytest.raises(NotFound):
        service.inspect("newer")
