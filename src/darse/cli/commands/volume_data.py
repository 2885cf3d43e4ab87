"""`volume export`, `import`, `clone`, `snapshot`, `restore` and `du`: what volumes hold, as a whole."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from darse.cli.command_line.flags import Command, listing, number, string, switch
from darse.cli.command_line.help_pages import fitted
from darse.cli.command_line.invocation import Invocation
from darse.cli.command_line.key_values import key_values
from darse.cli.errors import CliError
from darse.cli.output.files import write_whole
from darse.client.requests import volumes
from darse.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.volumes import VolumeDocument
    from darse.client.requests import ApiRequest

_PIECE = 256 * 1024
# Bytes after which the number on the terminal changes.
_SHOWN = 16 * 1024 * 1024


def _counted(pieces: Iterable[bytes], what: str) -> Iterator[bytes]:
    """Pass an archive on, and show on a terminal how much has come."""
    shows, done, shown = sys.stderr.isatty(), 0, 0
    for piece in pieces:
        yield piece
        done += len(piece)
        if shows and done - shown >= _SHOWN:
            shown = done
            sys.stderr.write(f"\r{what} {human_size(done)}\x1b[K")
            sys.stderr.flush()
    if shows:
        sys.stderr.write(f"\r{what} {human_size(done)}\x1b[K\n")


def export(invocation: Invocation) -> int:
    """Write the archive to a file, which is there whole or not at all, or to standard output."""
    (name,), path = invocation.arguments, invocation.options.output
    if not path and sys.stdout.isatty():
        raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    pieces = invocation.client.open(volumes.archive(name)).pieces()
    if path:
        write_whole(path, _counted(pieces, f"{name}:"), "failed to export volume")
        return 0
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    return 0


def import_(invocation: Invocation) -> int:
    """Make a volume of an archive, and print its name."""
    options = invocation.options
    name, *rest = invocation.arguments
    source = rest[0] if rest else "-"
    if source == "-" and sys.stdin.isatty():
        raise CliError("requested import from stdin, but stdin is empty")
    with sys.stdin.buffer if source == "-" else _open(source) as file:
        pieces = iter(lambda: file.read(_PIECE), b"")
        request = volumes.put_archive(
            name,
            _counted(pieces, f"{name}:"),
            labels=key_values(options.label),
            replace=options.replace,
        )
        volume = invocation.client.open(request).json()
    sys.stdout.write(f"{volume['Name']}\n")
    return 0


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or str(error)).lower()}") from error


def _made(invocation: Invocation, request: ApiRequest[Any, VolumeDocument]) -> int:
    sys.stdout.write(f"{invocation.client.do(request)['Name']}\n")
    return 0


def clone(invocation: Invocation) -> int:
    """Make another volume with what one holds, and print its name."""
    source, new = invocation.arguments
    return _made(invocation, volumes.clone(source, new, labels=key_values(invocation.options.label)))


def snapshot(invocation: Invocation) -> int:
    """Keep what a volume holds now, and print the snapshot's name."""
    volume, *rest = invocation.arguments
    return _made(invocation, volumes.snapshot(volume, rest[0] if rest else ""))


def restore(invocation: Invocation) -> int:
    """Have a volume hold what a snapshot of it has."""
    volume, kept = invocation.arguments
    return _made(invocation, volumes.restore(volume, kept))


def usage(invocation: Invocation) -> int:
    """Print what in a volume takes the room, the largest first."""
    options = invocation.options
    volume, *rest = invocation.arguments
    request = volumes.usage(volume, path=rest[0] if rest else "", depth=options.depth)
    found = invocation.client.do(request)

    def size(number: int) -> str:
        return str(number) if options.bytes else human_size(number)

    most = options.number if options.number > 0 else None
    rows = [("ON DISK", "SIZE", "FILES", "PATH")]
    rows += [(size(one["OnDisk"]), size(one["Size"]), str(one["Files"]), one["Path"]) for one in found["Parts"][:most]]
    rows.append((size(found["OnDisk"]), size(found["Size"]), str(found["Files"]), "(all)"))
    widths = [max(len(row[column]) for row in rows) + 3 for column in range(3)]
    lines = []
    for row in rows:
        # A name may hold what a terminal would take for a command.
        path = row[3].encode("unicode_escape").decode() if not row[3].isprintable() else row[3]
        lines.append("".join(row[column].ljust(widths[column]) for column in range(3)) + path)
    sys.stdout.write("".join(f"{line}\n" for line in fitted(lines)))
    return 0


COMMANDS = {
    "volume export": (
        Command(
            "volume export",
            "[OPTIONS] VOLUME",
            "Write the files of a volume as a tar archive (streamed to STDOUT by default)",
            (string("output", "Write to a file, instead of STDOUT", "o"),),
            1,
            1,
        ),
        export,
    ),
    "volume import": (
        Command(
            "volume import",
            "[OPTIONS] VOLUME [FILE|-]",
            "Make a volume of a tar archive",
            (
                listing("label", "Set metadata for the volume"),
                switch("replace", "Replace the files of a volume that exists"),
            ),
            1,
            2,
        ),
        import_,
    ),
    "volume clone": (
        Command(
            "volume clone",
            "[OPTIONS] VOLUME NEW",
            "Make another volume with the files of one",
            (listing("label", "Set metadata for the new volume"),),
            2,
            2,
        ),
        clone,
    ),
    "volume snapshot": (
        Command("volume snapshot", "VOLUME [SNAPSHOT]", "Keep the files of a volume as they are now", (), 1, 2),
        snapshot,
    ),
    "volume restore": (
        Command("volume restore", "VOLUME SNAPSHOT", "Replace the files of a volume by those of a snapshot", (), 2, 2),
        restore,
    ),
    "volume du": (
        Command(
            "volume du",
            "[OPTIONS] VOLUME [PATH]",
            "Show what in a volume takes the room",
            (
                switch("bytes", "Print sizes in bytes", "b"),
                number("depth", "How many directories below PATH to show", "d", default=1),
                number("number", "How many of the largest to show, 0 for all", "n", default=20),
            ),
            1,
            2,
        ),
        usage,
    ),
}
