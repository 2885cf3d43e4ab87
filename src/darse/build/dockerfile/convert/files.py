"""COPY and ADD: one file operation with an action for each source."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import urlsplit

import msgspec

from darse.build.dockerfile.convert.conversion import Conversion, context_path
from darse.build.dockerfile.convert.git import GitReference, parse_git
from darse.build.dockerfile.convert.nodes import Node, NodeInputs, Tree
from darse.build.dockerfile.convert.stages import StageCommand, StageState
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.instructions import AddInstruction, CopyInstruction, FileInstruction, InlineFile
from darse.build.dockerfile.words import WordReader
from darse.build.graph.definition import VertexMetadata
from darse.build.graph.operations import (
    CopyAction,
    FileAction,
    FileOperation,
    FileOwner,
    MergeOperation,
    MkfileAction,
    UserName,
)
from darse.build.graph.selectors import has_wildcard
from darse.build.graph.sources import HTTPSource
from darse.quoting import quote

_OCTAL = re.compile(r"[0-7]+")
_SYMBOLIC = re.compile(r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+(?:,[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+)*")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_LARGEST_ID = 2**32 - 2
# Text of here-documents keeps its quotes and escapes.
_HEREDOC_READER = WordReader(skip_quotes=True)


def copy_files(conversion: Conversion, state: StageState, command: StageCommand, instruction: FileInstruction) -> None:
    """Add the vertices of a COPY or an ADD to a stage. Raises DockerfileError."""
    copying = _Copying(conversion, state, command, instruction)
    for source in instruction.sources:
        copying.source(source)
    for file in instruction.files:
        copying.inline_file(file)
    copying.finish()


def owner_of(text: str, lookup: int) -> FileOwner | None:
    """`user[:group]`, by number or by name; names are looked up in an input. None for an empty text."""
    if not text:
        return None
    user, _, group = text.partition(":")
    return FileOwner(_identity(user, lookup), _identity(group, lookup))


def _identity(text: str, lookup: int) -> int | UserName | None:
    if not text:
        return None
    if text.isascii() and text.isdecimal() and int(text[:11]) <= _LARGEST_ID:
        return int(text)
    return UserName(text, lookup)


class _Copying:
    """One instruction's actions while they are put together."""

    def __init__(
        self, conversion: Conversion, state: StageState, command: StageCommand, instruction: FileInstruction
    ) -> None:
        self.conversion, self.state, self.command, self.instruction = conversion, state, command, instruction
        self.is_add = isinstance(instruction, AddInstruction)
        mode, mode_text = _mode(instruction.chmod)
        # A symbolic mode changes what is there before, so it cannot be a layer of its own.
        self.link = instruction.link and not instruction.chmod
        self.destination = conversion.in_working_directory(state, instruction.destination)
        self.inputs = NodeInputs()
        self.base = None if self.link else state.tree
        self.first = self.inputs.index(self.base)
        self.common = {
            "destination": self.destination,
            "create_destination": True,
            "mode": mode,
            "mode_text": mode_text,
            "owner": owner_of(instruction.chown, self.first),
            "exclude_patterns": instruction.exclude,
        }
        self.copies: list[tuple[CopyAction, int]] = []
        text = conversion.command_text(state, instruction.code)
        self.text = text
        self.name = conversion.step_name(state, text, triggered=command.triggered)
        self._check_checksum()

    def _check_checksum(self) -> None:
        checksum = self.instruction.checksum if isinstance(self.instruction, AddInstruction) else ""
        if not checksum:
            return
        if len(self.instruction.sources) != 1:
            raise DockerfileError("checksum can't be specified for multiple sources")
        source = self.instruction.sources[0]
        if not is_http(source) and parse_git(source) is None:
            raise DockerfileError("checksum requires HTTP(S) or Git sources")

    def _add(self, tree: Tree | None, action: CopyAction) -> None:
        self.copies.append((action, self.inputs.index(tree)))

    def source(self, source: str) -> None:
        """One of the sources that are paths or URLs."""
        if (reference := parse_git(source)) is not None:
            self._git(reference)
        elif is_http(source):
            self._http(source)
        else:
            self._path(source)

    def _git(self, reference: GitReference) -> None:
        if not isinstance(self.instruction, AddInstruction):
            raise DockerfileError("source can't be a git ref for COPY", advice="ADD takes repositories.")
        operation = reference.source(keep_git_dir=self.instruction.keep_git_dir, checksum=self.instruction.checksum)
        tree = Tree(Node(operation, [], "", VertexMetadata(self.name)))
        self._add(tree, CopyAction(source="/", **self.common))  # type: ignore[arg-type]

    def _http(self, url: str) -> None:
        if not isinstance(self.instruction, AddInstruction):
            raise DockerfileError("source can't be a URL for COPY", advice="ADD takes URLs.")
        name = posixpath.basename(urlsplit(url).path.rstrip("/")) or "__unnamed__"
        checksum = self.instruction.checksum
        if checksum and not _DIGEST.fullmatch(checksum):
            raise DockerfileError("invalid checksum digest format", advice="Write --checksum=sha256:HEX.")
        node = Node(HTTPSource(url=url, filename=name, checksum=checksum), [], "", VertexMetadata(self.name))
        action = CopyAction(source=f"/{name}", unpack=bool(self.instruction.unpack), **self.common)  # type: ignore[arg-type]
        self._add(Tree(node), action)

    def _path(self, source: str) -> None:
        """A path of the context, or of a stage."""
        self._check_ignored(source)
        include: tuple[str, ...] = ()
        required: tuple[str, ...] = ()
        root = source
        if isinstance(self.instruction, CopyInstruction) and self.instruction.parents:
            root, pattern = _pivot(source)
            include = (pattern.lstrip("/"),)
            if not has_wildcard(root) and not has_wildcard(pattern):
                required = (context_path(posixpath.join(root, pattern.lstrip("/"))),)
        unpack = self.is_add
        if isinstance(self.instruction, AddInstruction) and self.instruction.unpack is not None:
            unpack = self.instruction.unpack
        action = CopyAction(
            source=context_path(root),
            follow_symlink=True,
            copy_directory_contents=True,
            unpack=unpack,
            allow_wildcard=True,
            allow_empty_wildcard=True,
            include_patterns=include,
            required_paths=required,
            **self.common,  # type: ignore[arg-type]
        )
        self._from(action, source)

    def _from(self, action: CopyAction, path: str) -> None:
        origin = self.command.sources[0] if self.command.sources else None
        if origin is None:
            self.conversion.context_paths.add(context_path(path))
            self._add(self.conversion.context(), action)
            return
        if not origin.converted:
            name = self.instruction.source_stage if isinstance(self.instruction, CopyInstruction) else ""
            raise DockerfileError(
                f"cannot copy from stage {quote(name)}, it needs to be defined before current stage "
                f"{quote(self.state.name)}"
            )
        origin.used_paths.add(context_path(path))
        self._add(origin.tree, action)

    def _check_ignored(self, source: str) -> None:
        if self.command.sources or self.conversion.ignored is None:
            return
        if self.conversion.ignored.matches(context_path(source).lstrip("/") or "."):
            kind = "Add" if self.is_add else "Copy"
            detail = f"Attempting to {kind} file {quote(source)} that is excluded by .dockerignore"
            self.conversion.checks.report("CopyIgnoredFile", self.instruction.lines, detail)

    def inline_file(self, file: InlineFile) -> None:
        """A here-document."""
        data = file.data
        if file.expand:
            data = self.conversion.expand(self.state, self.instruction, data, _HEREDOC_READER)
        make = MkfileAction(path=f"/{file.name}", data=data.encode("utf-8", "surrogateescape"))
        metadata = VertexMetadata("[internal] preparing inline document")
        node = Node(FileOperation((FileAction(make, output=0),)), [], self.state.platform, metadata)
        self._add(Tree(node), CopyAction(source=f"/{file.name}", **self.common))  # type: ignore[arg-type]

    def finish(self) -> None:
        """Make the vertex, and add the instruction to the history."""
        count = len(self.inputs.trees)
        actions = []
        for number, (change, second) in enumerate(self.copies):
            target = self.first if number == 0 else count + number - 1
            actions.append(FileAction(change, target, second, 0 if number == len(self.copies) - 1 else -1))
        metadata = self.conversion.metadata(self.state, self.instruction, self.name)
        node = Node(FileOperation(tuple(actions)), self.inputs.trees, self.state.platform, metadata)
        if self.link:
            self._merge(Tree(node))
        else:
            self.state.tree = Tree(node)
        self.state.image.commit(
            self._history(), layer=True, epoch=self.conversion.options.source_date_epoch, files=True
        )

    def _merge(self, layer: Tree) -> None:
        """`--link`: a layer that does not depend on what is below it."""
        if self.state.tree is None:
            self.state.tree = layer
            return
        name = self.conversion.step_name(self.state, f"LINK {self.text}", triggered=self.command.triggered, again=True)
        metadata = msgspec.structs.replace(layer.node.metadata or VertexMetadata(), name=name)
        self.state.tree = Tree(Node(MergeOperation((0, 1)), [self.state.tree, layer], "", metadata))

    def _history(self) -> str:
        instruction = self.instruction
        words = ["ADD" if self.is_add else "COPY"]
        if isinstance(instruction, CopyInstruction) and instruction.parents:
            words.append("--parents")
        if instruction.chown:
            words.append(f"--chown={instruction.chown}")
        if instruction.chmod:
            words.append(f"--chmod={instruction.chmod}")
        names = [f"<<{file.name}" for file in instruction.files]
        return " ".join([*words, *instruction.sources, *names, instruction.destination])


def _pivot(source: str) -> tuple[str, str]:
    """`a/./b`: what is below `a`, with its parents from there on."""
    root, mark, pattern = source.partition("/./")
    return (root or "/", context_path(pattern)) if mark else ("/", context_path(source))


def _mode(text: str) -> tuple[int | None, str]:
    if not text:
        return None, ""
    if _OCTAL.fullmatch(text) and int(text, 8) <= 0o7777:
        return int(text, 8), ""
    if _SYMBOLIC.fullmatch(text):
        return None, text
    raise DockerfileError(
        f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777",
        advice="A symbolic mode, such as u=rwX,go=rX, is taken, too.",
    )


def is_http(source: str) -> bool:
    """Whether a source is a URL of a file."""
    return source.startswith(("http://", "https://")) and parse_git(source) is None
