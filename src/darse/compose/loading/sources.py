"""The files of a project, and everything that was read: the place of an error is found in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from darse.compose.errors import ComposeError, FilePosition
from darse.compose.inputs import Inputs, read_bounded
from darse.compose.yaml import reader

_REMOTE = ("oci://", "http://", "https://", "git://", "ssh://", "git@", "github.com/")
STANDARD_INPUT = "-"


class RemoteFile(NamedTuple):
    """A file of a repository or a registry that is here now, and the directory of all that came with it."""

    path: str
    root: str


Fetch = Callable[[str], RemoteFile]


def refuse_remote(file: str) -> RemoteFile:
    """Raise ComposeError: nothing is fetched by those who read the files of this machine only."""
    raise ComposeError(f"{file}: compose files are read from this machine only here, not from OCI or git")


class Sources:
    """The documents that were read, in order. A file is read once."""

    def __init__(self, fetch: Fetch = refuse_remote) -> None:
        """`fetch` brings a file that is not of this machine here."""
        self.inputs = Inputs()
        self._fetch = fetch
        self._remote: dict[str, RemoteFile] = {}
        self._contents: dict[str, bytes] = {}
        self._roots: dict[str, list[reader.YamlNode]] = {}
        self._documents: list[reader.YamlDocument] = []

    def remote(self, file: str) -> RemoteFile | None:
        """A file of a repository or a registry, which is fetched; None for one of this machine. Raises ComposeError."""
        if not file.startswith(_REMOTE):
            return None
        self.inputs.has_more = True
        if file not in self._remote:
            self._remote[file] = self._fetch(file)
        return self._remote[file]

    def content(self, file: str) -> bytes:
        """The bytes of a file, or of standard input for `-`. Raises ComposeError."""
        if file not in self._contents:
            try:
                if file == STANDARD_INPUT:
                    self.inputs.has_more = True
                    self._contents[file] = sys.stdin.buffer.read()
                else:
                    self.inputs.note(file)
                    self._contents[file] = read_bounded(file)
            except OSError as error:
                raise ComposeError(f"open {file}: {(error.strerror or str(error)).lower()}") from error
        return self._contents[file]

    def documents(self, file: str) -> list[reader.YamlDocument]:
        """The documents of a file. Raises ComposeError."""
        found = [reader.YamlDocument(file, root) for root in self._composed(file)]
        self._documents += found
        return found

    def _composed(self, file: str) -> list[reader.YamlNode]:
        if file not in self._roots:
            self._roots[file] = reader.compose(self.content(file), file)
        return self._roots[file]

    def name_in(self, file: str) -> str:
        """The `name` at the top of a file: that of its last document that has one."""
        found = ""
        for root in self._composed(file):
            named = reader.child(root, "name") if root.kind == reader.MAPPING else None
            if named and named[1].kind == reader.SCALAR:
                found = named[1].value or found
        return found

    def locate(self, path: tuple[Any, ...]) -> FilePosition | None:
        """Where an attribute is: in the document that has most of its path, the later of two."""
        best: tuple[int, FilePosition] | None = None
        for document in self._documents:
            found = document.locate(path)
            if best is None or found[0] >= best[0]:
                best = found
        return best[1] if best else None

    def located(self, error: ComposeError) -> ComposeError:
        """An error with its place, where it has a path and no place yet."""
        if error.place is None and error.path:
            error.place = self.locate(error.path)
        return error
