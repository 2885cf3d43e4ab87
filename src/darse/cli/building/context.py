"""Where the context of a build is from: a directory, standard input, a URL; and the Dockerfile, which may be elsewhere.

The rules and texts are those of docker's client (`cli/command/image/build/context.go`).
"""

from __future__ import annotations

import hashlib
import os
import sys

from darse.build.errors import InvalidPattern
from darse.build.ignore import ignore_file_names, read_ignore_file, with_build_files
from darse.cli.building.context_archive import pack
from darse.cli.building.context_tree import ContextTree
from darse.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_PIECE = 256 * 1024
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_IGNORE = ".dockerignore"


class BuildContext:
    """What is sent: an archive, or a directory and its Dockerfile, or the engine is given a URL."""

    def __init__(
        self,
        dockerfile: str,
        pieces: Iterator[bytes] | None = None,
        remote: str = "",
        tree: ContextTree | None = None,
        content: bytes | None = None,
    ) -> None:
        """dockerfile: its path in the context; empty is the default. content: the Dockerfile, apart from the context.

        tree: the directory, where it may be sent in part; `pieces` is the archive that is sent otherwise.
        """
        self.dockerfile = dockerfile
        self.pieces = pieces
        self.remote = remote
        self.tree = tree
        self.content = content


def find(path: str, dockerfile: str, node: str) -> BuildContext:
    """The context that the command line names. node: see `context_tree.node_id`. Raises CliError."""
    if path == "-":
        if dockerfile == "-":
            raise CliError("invalid argument: can't use stdin for both build context and dockerfile")
        return _of_stdin(dockerfile)
    if is_url(path):
        if dockerfile == "-":
            raise CliError("Dockerfile from stdin is not supported with remote contexts")
        return BuildContext(dockerfile, remote=path)
    if not os.path.isdir(path):
        if os.path.exists(path):
            raise CliError(f"unable to prepare context: context must be a directory: {os.path.abspath(path)}")
        raise CliError(f'unable to prepare context: path "{path}" not found')
    return _of_directory(os.path.realpath(path), dockerfile, node)


def is_url(text: str) -> bool:
    """Whether a context is at a URL, or in a git repository."""
    return text.startswith(("http://", "https://", "git://", "ssh://", "git@", "github.com/"))


def is_reference(text: str) -> bool:
    """Whether a named context is an image, or at a URL, and no directory of this machine."""
    return is_url(text) or text.startswith(("docker-image://", "oci-layout://"))


def named_tree(path: str, node: str) -> ContextTree:
    """A named context's directory. Raises CliError."""
    if not os.path.isdir(path):
        raise CliError(f"failed to get build context path {path}: no such directory")
    return ContextTree(os.path.realpath(path), _patterns(os.path.realpath(path), _IGNORE), node)


def _of_stdin(dockerfile: str) -> BuildContext:
    """An archive, or a Dockerfile without a context."""
    stdin = sys.stdin.buffer
    start = stdin.read(512)
    if start.startswith(_ARCHIVES) or start[257:262] == b"ustar":
        return BuildContext(dockerfile, _chained(start, stdin))
    if dockerfile:
        raise CliError("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    from darse.archive.headers import END, member

    return BuildContext("", iter([member(b"Dockerfile", start + stdin.read(), mode=0o600) + END]))


def _chained(start: bytes, file: BinaryIO) -> Iterator[bytes]:
    yield start
    while piece := file.read(_PIECE):
        yield piece


def _of_directory(directory: str, dockerfile: str, node: str) -> BuildContext:
    if dockerfile == "-":
        return _with_other_dockerfile(directory, sys.stdin.buffer.read(), "", node)
    path = dockerfile or "Dockerfile"
    full = os.path.normpath(path if os.path.isabs(path) else os.path.join(directory, path))
    if not dockerfile and not os.path.lexists(full):
        lowercase = os.path.join(directory, "dockerfile")
        full = lowercase if os.path.lexists(lowercase) else full
    elif dockerfile and not os.path.isabs(path) and os.path.lexists(path):
        # As buildx: a relative path is from where the command is run.
        full = os.path.abspath(path)
    real = os.path.realpath(full)
    if not os.path.isfile(real):
        what = "is not a file" if os.path.lexists(full) else "no such file or directory"
        raise CliError(
            f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {full}: {what}"
        )
    inside = os.path.relpath(real, directory)
    if inside == ".." or inside.startswith("../"):
        return _with_other_dockerfile(directory, _read(real), real, node)
    name = inside.replace(os.sep, "/")
    patterns = _patterns(directory, name)
    kept = with_build_files(patterns, name)
    archive = pack(directory, kept, _ignore_file(directory, name))
    return BuildContext(name, archive, tree=ContextTree(directory, patterns, node), content=_read(real))


def _with_other_dockerfile(directory: str, content: bytes, path: str, node: str) -> BuildContext:
    """A Dockerfile from elsewhere goes with the context under a name of its own, which `.dockerignore` leaves out."""
    name = f".dockerfile.{hashlib.sha256(content).hexdigest()[:20]}"
    patterns = _patterns(directory, path or name)
    own = _read_optional(os.path.join(directory, _IGNORE)) if not path else _own_ignore_file(directory, path)
    # Who has no such file sees none: this one leaves itself out.
    ignore = (own if own is not None else _IGNORE.encode()) + f"\n{name}\n".encode()
    more = {name: content, _IGNORE: ignore}
    archive = pack(directory, with_build_files(patterns, name, from_stdin=True), more)
    return BuildContext(name, archive, tree=ContextTree(directory, patterns, node), content=content)


def _ignore_file(directory: str, dockerfile: str) -> dict[str, bytes]:
    """The patterns of a Dockerfile's own file are what the engine sees as `.dockerignore`."""
    own = _read_optional(os.path.join(directory, ignore_file_names(dockerfile)[0]))
    return {_IGNORE: own} if own is not None else {}


def _own_ignore_file(directory: str, path: str) -> bytes | None:
    for name in (f"{path}.dockerignore", os.path.join(directory, _IGNORE)):
        if (content := _read_optional(name)) is not None:
            return content
    return None


def _patterns(directory: str, dockerfile: str) -> list[str]:
    """The patterns for a Dockerfile, which may be elsewhere. Raises CliError."""
    names = ignore_file_names(dockerfile) if dockerfile != _IGNORE else (_IGNORE,)
    for name in names:
        content = _read_optional(os.path.join(directory, name))
        if content is not None:
            try:
                return read_ignore_file(content.decode("utf-8", "surrogateescape"))
            except InvalidPattern as error:
                raise CliError(f"error checking context: {error}") from error
    return []


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CliError(f"unable to prepare context: open {path}: {(error.strerror or '').lower()}") from error


def _read_optional(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CliError(f"unable to prepare context: open {path}: {(error.strerror or '').lower()}") from error
