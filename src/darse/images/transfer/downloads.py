"""Downloads of layers' archives: one per digest, however many wait for it, and readable while it grows.

A thread fetches into an ingest of the content store and computes the digest. When the connection breaks, the thread
goes on with a Range request, and so does the next pull after a crash. A reader gets the file itself when the download
is complete, and otherwise a pipe that another thread fills from the file (splice(2) moves pages in the kernel and
copies nothing), so that a slow disk does not slow down the network, nor the other way round.

An archive never becomes larger than its descriptor says, and counts as complete only when its digest is verified.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable

from darse.core.errors import InvalidParameter
from darse.distribution import Cancellation, Repository
from darse.distribution.errors import Faulty, InvalidContent, NotInRegistry, RegistryError
from darse.distribution.repository import begins_at
from darse.distribution.timeouts import pause_before
from darse.distribution.transport import RegistryResponse
from darse.image_spec.manifests import Descriptor
from darse.images.content.ingest import Ingest
from darse.images.progress import LayerStage
from darse.linux.pipes import wide_pipe

_SPLICE = 1024 * 1024
# After a connection that brought this many bytes, the attempts are counted from the start again.
_PROGRESS = 8 * 1024 * 1024


class Download:
    """The archive `descriptor`, on its way from `repository`. `run` blocks; everything else does not."""

    def __init__(
        self,
        descriptor: Descriptor,
        repository: Repository,
        open_ingest: Callable[[str], Ingest],
        on_stage: Callable[[LayerStage, int], None],
    ) -> None:
        """`run` calls `on_stage` in its thread, with each stage and the seconds until the next attempt (or 0)."""
        self.descriptor = descriptor
        self.cancellation = Cancellation()
        # Whether an earlier attempt left bytes, which may be damaged.
        self.resumed = False
        self._repository = repository.apart(self.cancellation)
        self._open_ingest = open_ingest
        self._on_stage = on_stage
        self._ingest: Ingest | None = None
        self._grown = threading.Condition()
        self._available = 0
        self._ended = False
        self._whole = False
        self._readers: list[int] = []

    @property
    def size(self) -> int:
        """The archive's size in bytes, as the descriptor says."""
        return self.descriptor.size

    @property
    def received(self) -> int:
        """The number of bytes that are here."""
        return self._available

    # Fetching

    def run(self) -> None:
        """Fetch the missing bytes and verify the digest. Raises RegistryError, and OSError of the disk."""
        try:
            ingest = self._ingest = self._open_ingest(self.descriptor.digest)
            if ingest.offset > self.size:
                ingest.restart()
            self.resumed = ingest.offset > 0
            self._grow(ingest)
            self._on_stage(LayerStage.DOWNLOADING, 0)
            self._fetch(ingest)
            self._on_stage(LayerStage.VERIFYING, 0)
            self._verify(ingest)
            self._whole = True
        finally:
            self._repository.session.close()
            with self._grown:
                self._ended = True
                self._grown.notify_all()

    def _fetch(self, ingest: Ingest) -> None:
        attempt = 1
        while ingest.offset < self.size:
            before = ingest.offset
            try:
                self._receive(ingest)
            except RegistryError as error:
                attempt = 2 if ingest.offset - before >= _PROGRESS else attempt + 1
                self._pause(pause_before(attempt, error, self._repository.session.transport.limits))
                self._on_stage(LayerStage.DOWNLOADING, 0)

    def _pause(self, seconds: float) -> None:
        """Wait, and report the seconds that are left."""
        left = seconds
        while left > 0:
            self._on_stage(LayerStage.RETRYING, math.ceil(left))
            self.cancellation.wait(min(left, 1))
            left -= 1

    def _receive(self, ingest: Ingest) -> None:
        """Append the bytes that one connection brings."""
        with self._answer(ingest.offset) as response:
            position = begins_at(response, ingest.offset)
            self._check_length(response, position)
            limits = self._repository.session.transport.limits
            period_began, period_bytes = time.monotonic(), 0
            while piece := response.read_some():
                position += len(piece)
                if position > self.size:
                    raise InvalidContent(f"{self.descriptor.digest} has more than the {self.size} bytes that it claims")
                # A server may ignore the range and send the whole archive: the bytes that are here are skipped.
                new = position - ingest.offset
                if new > 0:
                    ingest.write(piece[-new:])
                    self._grow(ingest)
                period_bytes += len(piece)
                now = time.monotonic()
                if now - period_began >= limits.rate_period:
                    if period_bytes < limits.least_rate * limits.rate_period:
                        raise Faulty(f"the registry sends {self.descriptor.digest} too slowly: gave up")
                    period_began, period_bytes = now, 0
        if ingest.offset < self.size:
            raise Faulty(f"{self.descriptor.digest}: unexpected EOF: {ingest.offset} of {self.size} bytes came")

    def _answer(self, offset: int) -> RegistryResponse:
        """Ask the repository; for a foreign layer that it does not have, ask the URLs in the descriptor."""
        try:
            return self._repository.blob(self.descriptor.digest, offset)
        except NotInRegistry as error:
            failure: RegistryError = error
        for url in self.descriptor.urls or ():
            try:
                return self._repository.elsewhere(url, offset)
            except RegistryError as error:
                failure = error
        raise failure

    def _check_length(self, response: RegistryResponse, position: int) -> None:
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and position + int(length[:19]) != self.size:
            raise InvalidContent(
                f"{self.descriptor.digest} has {position + int(length[:19])} bytes, and was said to have {self.size}"
            )

    def _verify(self, ingest: Ingest) -> None:
        try:
            ingest.complete(self.size)
        except InvalidParameter as error:
            raise InvalidContent(f"filesystem layer verification failed for digest {self.descriptor.digest}") from error

    def _grow(self, ingest: Ingest) -> None:
        with self._grown:
            self._available = ingest.offset
            self._grown.notify_all()

    # Reading

    def open(self) -> int:
        """Return a file descriptor from which another process reads the archive; the caller closes it."""
        assert self._ingest is not None
        if self._whole:
            file = os.open(self._ingest.path, os.O_RDONLY | os.O_CLOEXEC)
            self._readers.append(os.dup(file))
            return file
        reading, writing = wide_pipe()
        file = os.open(self._ingest.path, os.O_RDONLY | os.O_CLOEXEC)
        self._readers.append(os.dup(file))
        threading.Thread(target=self._feed, args=(file, writing), name="layer-feed", daemon=True).start()
        return reading

    @property
    def consumed(self) -> int:
        """The position of the furthest reader: the descriptors given out share theirs with ours."""
        return max((os.lseek(reader, 0, os.SEEK_CUR) for reader in self._readers), default=0)

    def _feed(self, file: int, writing: int) -> None:
        """Fill a pipe from the file while that grows; the pipe ends early when the download fails."""
        position = 0
        try:
            while True:
                with self._grown:
                    self._grown.wait_for(lambda: self._available > position or self._ended)  # noqa: B023
                    available = self._available
                if available <= position:
                    return
                position += os.splice(file, writing, min(available - position, _SPLICE))
        except BrokenPipeError:
            pass  # the reader has ended, and reports why
        finally:
            os.close(file)
            os.close(writing)

    # The end

    def release(self, *, discard: bool) -> None:
        """Close the files after `run` has ended; keep the bytes for another attempt, or remove them. Blocks."""
        for reader in self._readers:
            os.close(reader)
        self._readers.clear()
        if self._ingest is not None:
            self._ingest.discard() if discard else self._ingest.close()
