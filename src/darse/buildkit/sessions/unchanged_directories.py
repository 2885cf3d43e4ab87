"""Large directories of clients without a shared key: not sent again where nothing at all has changed.

Such a client, `buildctl` for one, does not say which of its user's directories it sends, and two of them may have files
of the same path, size and time. So a list is believed of what the same user has sent before as a whole only, where it
has many entries; and of that the client shows some files, chosen by chance, and all whose time has whole seconds: a
time like that may have been set. What is small is asked for each time (`darse.build.context.archive_reuse`).
"""

from __future__ import annotations

import secrets
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

from grpclib.client import Stream

from darse.build.context.context_trees import SentAs, StoredTree
from darse.build.context.list_changes import CONTENT
from darse.build.context.transfer_service import Transfers
from darse.buildkit.sessions.directory_archive import FileTransfer
from darse.buildkit.sessions.incremental import IncrementalDirectory
from darse.buildkit.sessions.lists import SentList
from darse.buildkit.sessions.packets import has_content
from darse.core import executors

#: Entries of a list that is believed.
LEAST_ENTRIES = 500
# Files that are shown: by chance, and for their times; and bytes of one.
_SAMPLE, _MOST_SHOWN, _SMALL = 16, 256, 64 << 10
_SECOND = 1_000_000_000
_chance = secrets.SystemRandom()


class DirectoryChanged(Exception):
    """What the client has shown is not what is kept: all is to be sent, in another transfer."""


@asynccontextmanager
async def received_whole(
    stream: Stream[Any, Any], entries: SentList, key: str, transfers: Transfers, *, anew: bool
) -> AsyncIterator[StoredTree]:
    """The tree of a list, held for the block. anew: whatever is kept.

    Raises BuildError, NotIncremental, and DirectoryChanged.
    """
    kept = None if anew else transfers.trees.find(key)
    sent_as = await _recognized(stream, entries, kept) if kept is not None else None
    if kept is None or sent_as is None or not (shown := _chosen(sent_as)):
        async with transfers.received(key, IncrementalDirectory(stream, entries), anew=True) as tree:
            yield tree
        return
    transfers.trees.hold(kept)
    try:
        if not await _is_same(stream, entries, shown, kept):
            raise DirectoryChanged
        kept.last_used, kept.uses = time.time(), kept.uses + 1
        yield kept
    finally:
        transfers.trees.release(kept)


async def _recognized(stream: Stream[Any, Any], entries: SentList, kept: StoredTree) -> SentAs | None:
    """A tree's list as it was sent, where it is this one."""
    digest = entries.digest()
    if kept.sent_as is None or kept.sent_as.digest != digest:
        listed = sha256()
        async for piece in IncrementalDirectory(stream, entries).entries():
            listed.update(piece)
        if kept.about.digest != listed.hexdigest():
            return None
        kept.sent_as = SentAs(digest, *await _candidates(entries))
    return kept.sent_as


async def _candidates(entries: SentList) -> tuple[array[int], array[int]]:
    """Numbers of files whose times may have been set, and of small ones."""
    timed, small = array("I"), array("I")
    async for number, one in entries.in_turns():
        if has_content(one):
            if one.modTime % _SECOND == 0:
                timed.append(number)
            if one.size <= _SMALL:
                small.append(number)
    return timed, small


def _chosen(sent_as: SentAs) -> list[int]:
    """Numbers of the files that the client has to show; none where those are too many."""
    found = {*sent_as.timed, *_chance.sample(sent_as.small, min(_SAMPLE, len(sent_as.small)))}
    return sorted(found) if len(found) <= _MOST_SHOWN else []


async def _is_same(stream: Stream[Any, Any], entries: SentList, shown: Sequence[int], kept: StoredTree) -> bool:
    contents = await executors.storage.run((kept.path / "contents").read_bytes)
    transfer = FileTransfer(stream, [(number, entries[number].size) for number in shown])
    is_same = True
    for number in shown:
        digest = sha256()
        async for piece in transfer.content(number, entries[number].size):
            digest.update(piece)
        is_same = is_same and CONTENT.unpack_from(contents, number * CONTENT.size)[1] == digest.digest()
    return is_same
