"""What plugins have: `VolumeDriver.List`, asked of all of them at once and waited for a little.

A plugin may hang. So each has one request at a time, which all callers share. A caller waits until `TIMEOUT_SECONDS`
after that request was sent, and not at all for an older one. It gets the plugin's last answer then, with a warning that
says what may be missing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import NamedTuple

from darse.core.errors import NotFound
from darse.plugins import PluginClient, PluginError, PluginSilent
from darse.volumes.model import VolumeRecord
from darse.volumes.remote import KIND, RemoteVolume, RemoteVolumes

#: Seconds; less than the 0.1 that a list may take longer because of a plugin.
TIMEOUT_SECONDS = 0.08
_log = logging.getLogger("darse.volumes")
Volumes = dict[str, RemoteVolume]


class _Question(NamedTuple):
    answer: asyncio.Task[None]
    put_at: float


class RemoteListing:
    """The volumes that plugins have, whether or not anybody has used them here."""

    def __init__(
        self,
        plugins: PluginClient,
        remote: RemoteVolumes,
        records: Mapping[str, VolumeRecord],
        in_background: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
    ) -> None:
        self._plugins = plugins
        self._remote = remote
        self._records = records
        self._in_background = in_background
        self._asking: dict[str, _Question] = {}
        # What each has said last, and why the last question was not answered.
        self._last_answers: dict[str, Volumes] = {}
        self._failures: dict[str, PluginError] = {}

    async def ask(self) -> tuple[list[VolumeRecord], list[str]]:
        """What all plugins have, as records that are on no disk, and warnings of what may be missing."""
        names = await self._plugins.names(KIND)
        if not names:
            return [], []
        await self._plugins.loaded()
        questions = [self._put(name) for name in names]
        now = time.monotonic()
        # One that was put long ago is not waited for, however soon the others are answered.
        recent = [question for question in questions if question.put_at + TIMEOUT_SECONDS > now]
        if recent:
            left = max(question.put_at for question in recent) + TIMEOUT_SECONDS - now
            await asyncio.wait([question.answer for question in recent], timeout=left)
        found = [
            VolumeRecord(one, name, {}, {}, volume.created_ns)
            for name in names
            for one, volume in self._last_answers.get(name, {}).items()
        ]
        return found, [warning for name in names if (warning := self._warning(name))]

    async def find(self, volume: str) -> VolumeRecord | None:
        """The volume of a plugin that has one of this name; the first by the plugins' names."""
        found, _ = await self.ask()
        return next((record for record in found if record.name == volume), None)

    def _put(self, name: str) -> _Question:
        question = self._asking.get(name)
        if question is None:
            question = self._asking[name] = _Question(self._in_background(self._answer(name)), time.monotonic())
        return question

    async def _answer(self, name: str) -> None:
        try:
            self._last_answers[name] = await self._remote.listed(name)
            self._failures.pop(name, None)
        except NotFound:  # it has gone, or is a plugin of another kind
            self._last_answers.pop(name, None)
            self._failures.pop(name, None)
        except PluginError as error:
            self._failures[name] = error
            _log.warning("volume plugin %s does not list its volumes: %s", name, error)
        finally:
            del self._asking[name]

    def _warning(self, name: str) -> str:
        shown = (
            "what it said last is shown"
            if name in self._last_answers
            else "those that nobody has used here are missing"
        )
        if name in self._asking:
            return f"volumes of plugin {name}: it has not answered yet; {shown}"
        failure = self._failures.get(name)
        is_known = name in self._last_answers or any(record.driver == name for record in self._records.values())
        if failure is None or (isinstance(failure, PluginSilent) and not is_known):
            return ""  # a socket that some program has left behind need not be that of a volume plugin
        return f"volumes of plugin {name}: {failure}; {shown}"


def merged(records: Mapping[str, VolumeRecord], listed: Iterable[VolumeRecord]) -> list[VolumeRecord]:
    """By names: what is on record, and what only plugins have. Of a name that several have the first one counts."""
    found = dict(records)
    for record in listed:
        found.setdefault(record.name, record)
    return [found[name] for name in sorted(found)]
