"""A few small files of a client, in memory: its Dockerfile, its `.dockerignore`.

What comes is checked as that of an archive is (`darse.buildkit.sessions.directory_archive`); no path of it is opened
anywhere, so it needs no confined process.
"""

from __future__ import annotations

from darse.buildkit.sessions.directory_archive import EntryCheck, FileTransfer
from darse.buildkit.sessions.lists import listed_entries
from darse.buildkit.sessions.packets import DirectoryPatterns, has_content, opened_directory
from darse.buildkit.sessions.pool import ClientSession
from darse.buildkit.wire.stat_pb2 import Stat
from darse.go_modes import GO_DIRECTORY

#: What is received so; directories with more are received as others are.
MOST_ENTRIES, MOST_BYTES = 64, 1 << 20


class NotInMemory(Exception):
    """A directory has more than small files."""


async def received_documents(session: ClientSession, patterns: DirectoryPatterns) -> dict[str, bytes]:
    """The files of a directory, by path. Raises BuildError, and NotInMemory."""
    async with opened_directory(session, patterns) as stream:
        entries: list[Stat] = []
        check = EntryCheck()
        size = 0
        async for one in listed_entries(stream):
            # A link may be what is looked for.
            is_plain = has_content(one) or one.mode & GO_DIRECTORY
            size += one.size if has_content(one) else 0
            if not is_plain or len(entries) == MOST_ENTRIES or size > MOST_BYTES:
                raise NotInMemory
            check.add(one)
            entries.append(one)
        files = [(number, one.size) for number, one in enumerate(entries) if has_content(one)]
        transfer = FileTransfer(stream, files)
        return {
            entries[number].path: b"".join([piece async for piece in transfer.content(number, length)])
            for number, length in files
        }
