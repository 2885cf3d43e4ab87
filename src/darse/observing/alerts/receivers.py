"""Those who are notified: by a POST, or by a command. Each has a bounded queue and a task of its own, and keeps nobody
waiting.

The document is the one that Alertmanager sends to webhooks (version 4), so what speaks with it understands it:
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. A command gets it on its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import Any

import msgspec

from darse.core.tasks import begin_lasting, until_ended
from darse.observing.alerts.configuration import AlertReceiver
from darse.observing.json_sender import JsonSender, ReceiverUnreachable

MOST_QUEUED = 256
_COMMAND_SECONDS = 30.0
_RETRIES = (1.0, 5.0, 25.0)
_log = logging.getLogger("darse.observing")


class Notifier:
    """Notifies one receiver."""

    def __init__(self, receiver: AlertReceiver) -> None:
        self.receiver = receiver
        self.name = receiver.name
        self.sent = self.failed = self.dropped = 0
        self._command = receiver.command
        self._poster = JsonSender(receiver.webhook, receiver.headers) if receiver.webhook else None
        self._queue: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to send."""
        self._task = begin_lasting(self._run(), name=f"alerts for {self.name}")

    def notify(self, alerts: list[dict[str, Any]]) -> None:
        """Put a notification of these alerts into the queue; a full one drops its oldest."""
        firing = any(alert["status"] == "firing" for alert in alerts)
        document = {
            "version": "4",
            "receiver": self.name,
            "status": "firing" if firing else "resolved",
            "alerts": alerts,
        }
        if len(self._queue) >= MOST_QUEUED:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(msgspec.json.encode(document))
        self._filled.set()

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._queue:
                body = self._queue.popleft()
                if await self._delivered(body):
                    self.sent += 1
                else:
                    self.failed += 1

    async def _delivered(self, body: bytes) -> bool:
        if self._poster is None:
            return await self._commanded(body)
        why = ""
        for pause in (*_RETRIES, 0.0):
            try:
                status = await self._poster.post(body)
            except ReceiverUnreachable as error:
                why = str(error)
            else:
                if status < 300:
                    return True
                why = f"it answers {status}"
            await asyncio.sleep(pause)
        _log.warning("alerts: %s cannot be notified: %s", self.name, why)
        return False

    async def _commanded(self, body: bytes) -> bool:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            _log.warning("alerts: cannot run %s: %s", self.name, error.strerror)
            return False
        try:
            async with asyncio.timeout(_COMMAND_SECONDS):
                await process.communicate(body)
        except TimeoutError:
            _log.warning("alerts: %s takes longer than %d s", self.name, _COMMAND_SECONDS)
            return False
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await until_ended(asyncio.ensure_future(process.wait()))
        if process.returncode != 0:
            _log.warning("alerts: %s ended with %d", self.name, process.returncode)
        return process.returncode == 0

    async def close(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._poster is not None:
            await self._poster.close()
