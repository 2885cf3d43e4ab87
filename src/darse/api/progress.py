"""Docker's progress messages (moby's pkg/jsonmessage and pkg/progress), made of the events of transfers.

Clients draw a line for each `id`, scripts match the texts, and old clients print `progress` as it comes: here is the
one place for these texts, the bar and its sizes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import msgspec

from darse.image_spec import platforms
from darse.image_spec.platforms import Platform
from darse.images.model import Image
from darse.images.progress import (
    LayerProgress,
    LayerStage,
    LoadedImage,
    PulledImage,
    PullStarted,
    PushedTag,
    PushStarted,
    Report,
    TransferEvent,
)
from darse.images.references import Reference
from darse.units import sized

T = TypeVar("T")
Message = dict[str, Any]
#: An operation: called with what it is to report to.
Operation = Callable[[Report], Coroutine[Any, Any, T]]

_BAR = 50
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_SHORT = 12
_STAGES = {
    LayerStage.PULLING: "Pulling fs layer",
    LayerStage.DOWNLOADING: "Downloading",
    LayerStage.VERIFYING: "Verifying Checksum",
    LayerStage.DOWNLOADED: "Download complete",
    LayerStage.EXTRACTING: "Extracting",
    LayerStage.PULLED: "Pull complete",
    LayerStage.PREPARING: "Preparing",
    LayerStage.FOREIGN: "Skipped foreign layer",
    LayerStage.PUSHING: "Pushing",
    LayerStage.PUSHED: "Pushed",
    LayerStage.WAITING: "Waiting",
    LayerStage.LOADING: "Loading layer",
}


def pull_messages(pull: Operation[PulledImage], platform: Platform | None = None) -> AsyncGenerator[Message]:
    """Run the pull of an image, for the platform `platform` where one was asked for; yield its messages."""
    return _messages(pull, pull_event, lambda pulled: _pull_result([pulled], pulled.reference.familiar, platform))


def pull_all_messages(
    pull: Operation[list[PulledImage]], repository: Reference, platform: Platform | None = None
) -> AsyncGenerator[Message]:
    """Run the pull of all tags of a repository; yield its messages."""
    return _messages(pull, pull_event, lambda pulled: _pull_result(pulled, repository.familiar_name, platform))


def push_messages(push: Operation[list[PushedTag]]) -> AsyncGenerator[Message]:
    """Run a push; yield its messages."""
    return _messages(push, _push_event)


def load_messages(load: Operation[list[LoadedImage]], *, quiet: bool) -> AsyncGenerator[Message]:
    """Run a load; yield its messages, when `quiet` without those of layers."""
    return _messages(load, lambda event: () if quiet and isinstance(event, LayerProgress) else _load_event(event))


def plugin_pull_messages(pull: Operation[None], reference: Reference) -> AsyncGenerator[Message]:
    """Run the pull of a managed plugin; yield its messages."""
    done = {"status": f"Status: Downloaded newer image for {reference.familiar}"}
    return _messages(pull, _plugin_event, lambda _: [done])


def plugin_push_messages(push: Operation[None]) -> AsyncGenerator[Message]:
    """Run the push of a managed plugin; yield its messages."""
    return _messages(push, _plugin_event)


def import_messages(import_: Operation[Image]) -> AsyncGenerator[Message]:
    """Run an import; yield its message."""
    return _messages(import_, lambda _: (), lambda image: [{"status": image.id}])


# Events


def pull_event(event: TransferEvent) -> Iterable[Message]:
    """The messages of an event of a pull."""
    if isinstance(event, PullStarted):
        reference = event.reference
        yield {"status": f"Pulling from {reference.path}", "id": reference.digest or reference.tag}
    elif isinstance(event, LayerProgress):
        yield _layer(event, present="Already exists")
    elif isinstance(event, PulledImage):
        yield {"status": f"Digest: {event.digest}"}


def _pull_result(pulled: list[PulledImage], name: str, platform: Platform | None) -> Iterable[Message]:
    is_newer = any(one.is_newer for one in pulled)
    yield {"status": f"Status: {'Downloaded newer image' if is_newer else 'Image is up to date'} for {name}"}
    last = pulled[-1] if pulled else None
    if platform is not None and last is not None and platforms.distance(platform, last.image.platform) is None:
        yield {
            "status": f"WARNING: image with reference {last.reference.familiar} was found but does not match the "
            f"specified platform: wanted {platform}, actual: {last.image.platform}"
        }


def _push_event(event: TransferEvent) -> Iterable[Message]:
    if isinstance(event, PushStarted):
        yield {"status": f"The push refers to repository [{event.repository.name}]"}
    elif isinstance(event, LayerProgress):
        yield _layer(event, present="Layer already exists")
    elif isinstance(event, PushedTag):
        tag, target = event.reference.tag, event.target
        yield {"status": f"{tag}: digest: {target.digest} size: {target.size}"}
        yield {"progressDetail": {}, "aux": {"Tag": tag, "Digest": target.digest, "Size": target.size}}
        if event.instead_of is not None:
            yield {
                "progressDetail": {},
                "aux": {
                    "manifestPushedInsteadOfIndex": True,
                    "originalIndex": msgspec.to_builtins(event.instead_of),
                    "selectedManifest": msgspec.to_builtins(target),
                },
            }


def _plugin_event(event: TransferEvent) -> Iterable[Message]:
    if isinstance(event, PullStarted):
        reference = event.reference
        yield {"status": f"{reference.tag or reference.digest}: Pulling from {reference.path}"}
    elif isinstance(event, LayerProgress):
        yield {"status": _STAGES[event.stage], "id": short_digest(event.layer)}
    elif isinstance(event, PushStarted):
        yield {"status": f"The push refers to repository [{event.repository.name}]"}
    elif isinstance(event, PushedTag):
        yield {"status": f"{event.reference.tag}: digest: {event.target.digest} size: {event.target.size}"}


def _load_event(event: TransferEvent) -> Iterable[Message]:
    if isinstance(event, LayerProgress):
        yield _layer(event)
    elif isinstance(event, LoadedImage):
        for name in event.displaced:
            yield {
                "stream": f"The image {name.reference.familiar} already exists, renaming the old one with ID "
                f"{name.image_id} to empty string\n"
            }
        for reference in event.names:
            yield {"stream": f"Loaded image: {reference.familiar}\n"}
        if not event.names:
            yield {"stream": f"Loaded image ID: {event.image.id}\n"}


def _layer(event: LayerProgress, *, present: str = "") -> Message:
    message = {"status": _status(event, present), "id": short_digest(event.layer)}
    if event.current <= 0 and event.total <= 0:
        return {**message, "progressDetail": {}}
    detail = {key: value for key, value in (("current", event.current), ("total", event.total)) if value > 0}
    return {**message, "progressDetail": detail, "progress": progress_bar(event.current, event.total)}


def _status(event: LayerProgress, present: str) -> str:
    if event.stage is LayerStage.RETRYING:
        return f"Retrying in {event.retry_in} second{'s' if event.retry_in != 1 else ''}"
    if event.stage is LayerStage.MOUNTED:
        return f"Mounted from {event.mounted_from}"
    return present if event.stage is LayerStage.PRESENT else _STAGES[event.stage]


# Texts


def short_digest(digest: str) -> str:
    """Twelve digits of a digest, as docker shortens it; of any other text, its first twelve characters."""
    return digest.removeprefix("sha256:")[:_SHORT]


def progress_bar(current: int, total: int) -> str:
    """A bar and numbers, for clients that do not draw their own."""
    if total <= 0 or current > total:
        return f"{human_size(current):>8}"
    done = min(current * 100 // total // 2, _BAR)
    return f"[{'=' * done}>{' ' * (_BAR - done)}] {human_size(current):>8}/{human_size(total)}"


def human_size(size: float) -> str:
    """Bytes in decimal units with four digits: `1.234MB`."""
    return sized(size, 1000.0, _UNITS, 4)


# From reports to a stream


class _Reported:
    """Events that wait for a client.

    The operation does not wait for it: while a layer's last event waits, the next one of the same stage replaces it. So
    a slow client gets what is true when it reads, and there are never more events than stages.
    """

    def __init__(self) -> None:
        self._events: list[TransferEvent] = []
        self._last: dict[str, int] = {}
        self.changed = asyncio.Event()

    def add(self, event: TransferEvent) -> None:
        """Take an event; a `Report`."""
        if isinstance(event, LayerProgress):
            position = self._last.get(event.layer)
            last = self._events[position] if position is not None else None
            if position is not None and isinstance(last, LayerProgress) and last.stage is event.stage:
                self._events[position] = event
                return
            self._last[event.layer] = len(self._events)
        self._events.append(event)
        self.changed.set()

    def take(self) -> list[TransferEvent]:
        """Return the events that wait."""
        events, self._events = self._events, []
        self._last.clear()
        self.changed.clear()
        return events


async def _messages(
    start: Operation[T],
    show: Callable[[TransferEvent], Iterable[Message]],
    conclude: Callable[[T], Iterable[Message]] = lambda _: (),
) -> AsyncGenerator[Message]:
    """Run an operation and yield the messages of its events and of its result. Raises what it raises.

    When the generator is closed, the operation is cancelled, and has ended.
    """
    reported = _Reported()
    task = asyncio.create_task(start(reported.add))
    task.add_done_callback(lambda _: reported.changed.set())
    try:
        while True:
            await reported.changed.wait()
            is_over = task.done()
            for event in reported.take():
                for message in show(event):
                    yield message
            if is_over:
                break
        for message in conclude(task.result()):
            yield message
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
