"""Downloads of layers' archives: one for each digest, however many wait for it, read while it grows.

A thread fetches and hashes into the content store's partial file; when the connection breaks it goes on with a Range
request, and so does the next pull after a crash. A reader gets the file itself when it is whole, and else a pipe that
another thread fills from it (splice(2): the kernel moves pages, nothing is copied), so that a slow disk does not slow
down the network, nor the other way round.

The archive is never larger than its descriptor says, and never called done before its digest is verified.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import threading
import time
from collections.abc import Callable

from darse.core.errors import InvalidParameter
from darse.distribution import Cancellation, Descriptor, Repository
from darse.distribution.errors import Faulty, NotFound, RegistryError, Untrustworthy
from darse.distribution.repository import begins_at
from darse.distribution.timeouts import pause_before
from darse.distribution.transport import Response
from darse.images.content.ingest import Ingest

_PIPE = 1024 * 1024
_SPLICE = 1024 * 1024
# A connection that brought this much did some good: the tries are counted anew.
_PROGRESS = 8 * 1024 * 1024
# docker's words for the stages.
DOWNLOADING = "Downloading"
VERIFYING = "Verifying Checksum"


class Download:
    """The archive `descriptor` on its way from `repository`. `run` blocks; everything else does not."""

    def __init__(
        self,
        descriptor: Descriptor,
        repository: Repository,
        open_partial: Callable[[str], Ingest],
        tell: Callable[[str], None],
    ) -> None:
        """`tell` is called in the thread of `run`, with a word for each stage."""
        self.descriptor = descriptor
        self.cancellation = Cancellation()
        # Whether an earlier try left something, which may be damaged.
        self.resumed = False
        self._repository = repository.apart(self.cancellation)
        self._open_partial = open_partial
        self._tell = tell
        self._partial: Ingest | None = None
        self._grown = threading.Condition()
        self._available = 0
        self._ended = False
        self._whole = False
        self._readers: list[int] = []

    @property
    def size(self) -> int:
        """Declared bytes of the archive."""
        return self.descriptor.size

    @property
    def received(self) -> int:
        """Bytes that are there."""
        return self._available

    # Fetching

    def run(self) -> None:
        """Fetch what is missing, and verify. Raises RegistryError, and OSError of the disk."""
        try:
            partial = self._partial = self._open_partial(self.descriptor.digest)
            if partial.offset > self.size:
                partial.restart()
            self.resumed = partial.offset > 0
            self._grow(partial)
            self._tell(DOWNLOADING)
            self._fetch(partial)
            self._tell(VERIFYING)
            self._verify(partial)
            self._whole = True
        finally:
            self._repository.session.close()
            with self._grown:
                self._ended = True
                self._grown.notify_all()

    def _fetch(self, partial: Ingest) -> None:
        attempt = 1
        while partial.offset < self.size:
            before = partial.offset
            try:
                self._receive(partial)
            except RegistryError as error:
                attempt = 2 if partial.offset - before >= _PROGRESS else attempt + 1
                self._pause(pause_before(attempt, error, self._repository.session.transport.limits))
                self._tell(DOWNLOADING)

    def _pause(self, seconds: float) -> None:
        """Wait, and count the seconds down."""
        left = seconds
        while left > 0:
            shown = math.ceil(left)
            self._tell(f"Retrying in {shown} second{'s' if shown != 1 else ''}")
            self.cancellation.wait(min(left, 1))
            left -= 1

    def _receive(self, partial: Ingest) -> None:
        """Append what one connection brings."""
        with self._answer(partial.offset) as response:
            position = begins_at(response, partial.offset)
            self._check_length(response, position)
            limits = self._repository.session.transport.limits
            period_began, period_bytes = time.monotonic(), 0
            while piece := response.read_some():
                position += len(piece)
                if position > self.size:
                    raise Untrustworthy(f"{self.descriptor.digest} has more than the {self.size} bytes that it claims")
                # The whole again, when a part was asked for: what is there already is skipped.
                new = position - partial.offset
                if new > 0:
                    partial.write(piece[-new:])
                    self._grow(partial)
                period_bytes += len(piece)
                now = time.monotonic()
                if now - period_began >= limits.rate_period:
                    if period_bytes < limits.least_rate * limits.rate_period:
                        raise Faulty(f"the registry sends {self.descriptor.digest} too slowly: gave up")
                    period_began, period_bytes = now, 0
        if partial.offset < self.size:
            raise Faulty(f"{self.descriptor.digest}: unexpected EOF: {partial.offset} of {self.size} bytes came")

    def _answer(self, offset: int) -> Response:
        """Ask the repository, or for a foreign layer that it has not, the addresses in its descriptor."""
        try:
            return self._repository.blob(self.descriptor.digest, offset)
        except NotFound as error:
            failure: RegistryError = error
        for url in self.descriptor.urls:
            try:
                return self._repository.elsewhere(url, offset)
            except RegistryError as error:
                failure = error
        raise failure

    def _check_length(self, response: Response, position: int) -> None:
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and position + int(length[:19]) != self.size:
            raise Untrustworthy(
                f"{self.descriptor.digest} has {position + int(length[:19])} bytes, and was said to have {self.size}"
            )

    def _verify(self, partial: Ingest) -> None:
        try:
            partial.complete(self.size)
        except InvalidParameter as error:
            raise Untrustworthy(f"filesystem layer verification failed for digest {self.descriptor.digest}") from error

    def _grow(self, partial: Ingest) -> None:
        with self._grown:
            self._available = partial.offset
            self._grown.notify_all()

    # Reading

    def open(self) -> int:
        """A descriptor of the archive for another process to read, from its beginning; the caller closes it."""
        assert self._partial is not None
        if self._whole:
            file = os.open(self._partial.path, os.O_RDONLY | os.O_CLOEXEC)
            self._readers.append(os.dup(file))
            return file
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
        file = os.open(self._partial.path, os.O_RDONLY | os.O_CLOEXEC)
        self._readers.append(os.dup(file))
        threading.Thread(target=self._feed, args=(file, writing), name="layer-feed", daemon=True).start()
        return reading

    @property
    def consumed(self) -> int:
        """How far the furthest reader is: the descriptors share their position with ours."""
        return max((os.lseek(reader, 0, os.SEEK_CUR) for reader in self._readers), default=0)

    def _feed(self, file: int, writing: int) -> None:
        """Fill a pipe from the file as that grows; the pipe ends early when the download fails."""
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
            pass  # the reader has ended, and says why
        finally:
            os.close(file)
            os.close(writing)

    # The end

    def release(self, *, discard: bool) -> None:
        """Close the files once `run` has ended; leave what is there for another try, or remove it."""
        for reader in self._readers:
            os.close(reader)
        self._readers.clear()
        if self._partial is not None:
            self._partial.discard() if discard else self._partial.close()
