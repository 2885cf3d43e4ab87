"""`load`, `save` and `import`: images from and to archives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

from darse.cli.command_line.flags import Command, listing, platform_flag, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.images import platforms
from darse.cli.output.files import write_whole
from darse.cli.output.progress import display
from darse.client.requests import images

_PIECE = 256 * 1024


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or str(error)).lower()}") from error


def load(invocation: Invocation) -> int:
    """Load images from an archive."""
    options = invocation.options
    if not options.input and sys.stdin.isatty():
        raise CliError("requested load from stdin, but stdin is empty")
    with _open(options.input) if options.input else sys.stdin.buffer as source:
        quiet = options.quiet or not sys.stdout.isatty()
        platform = platforms.given(options.platform)
        request = images.load(_pieces(source), quiet=quiet, platform=platform)
        display(invocation.client.open(request).messages())
    return 0


def import_(invocation: Invocation) -> int:
    """Make an image of the archive of a file system."""
    options = invocation.options
    source, *rest = invocation.arguments
    is_remote = source.startswith(("http://", "https://"))

    def make(content: str | Iterator[bytes]) -> None:
        request = images.import_image(
            content,
            name=rest[0] if rest else "",
            message=options.message,
            changes=options.change,
            platform=options.platform,
        )
        display(invocation.client.open(request).messages())

    if is_remote:
        make(source)
        return 0
    with sys.stdin.buffer if source == "-" else _open(source) as file:
        make(_pieces(file))
    return 0


def save(invocation: Invocation) -> int:
    """Save images to an archive. A file is there whole, or not at all."""
    options = invocation.options
    if not options.output:
        if sys.stdout.isatty():
            raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        for piece in _saved(invocation):
            sys.stdout.buffer.write(piece)
        return 0
    write_whole(options.output, _saved(invocation), "failed to save image")
    return 0


def _saved(invocation: Invocation) -> Iterator[bytes]:
    request = images.save(*invocation.arguments, platform=platforms.given(invocation.options.platform))
    yield from invocation.client.open(request).pieces()


COMMANDS = {
    "image load": (
        Command(
            "image load",
            "[OPTIONS]",
            "Load an image from a tar archive or STDIN",
            (
                string("input", "Read from tar archive file, instead of STDIN", "i"),
                string("platform", f"Load only the given platform variant. {platforms.FORM}"),
                switch("quiet", "Suppress the load output", "q"),
            ),
        ),
        load,
    ),
    "image save": (
        Command(
            "image save",
            "[OPTIONS] IMAGE [IMAGE...]",
            "Save one or more images to a tar archive (streamed to STDOUT by default)",
            (
                string("output", "Write to a file, instead of STDOUT", "o"),
                string("platform", f"Save only the given platform variant. {platforms.FORM}"),
            ),
            1,
            None,
        ),
        save,
    ),
    "image import": (
        Command(
            "image import",
            "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
            "Import the contents from a tarball to create a filesystem image",
            (
                listing("change", "Apply Dockerfile instruction to the created image", "c"),
                string("message", "Set commit message for imported image", "m"),
                platform_flag(),
            ),
            1,
            None,
        ),
        import_,
    ),
}
