"""Read YAML into plain values, with the position of each: libyaml parses, this composes and resolves.

Composing is ours, not PyYAML's, because hostile files are read: PyYAML composes recursively in C and ends the process
on deep nesting, has no limit for aliases that multiply, and keeps the last of duplicate keys without a word.

Tags: `!reset` and `!override` are compose's own; the core schema's may be written (`!!str 1`); others are ignored, as
compose does.
"""

from __future__ import annotations

from typing import Any

from yaml._yaml import CParser  # what yaml.cyaml is made of, and all of it that is needed here
from yaml.error import YAMLError

from darse.compose.errors import ComposeError, FilePosition
from darse.compose.yaml import scalars

SCALAR, SEQUENCE, MAPPING = "scalar", "sequence", "mapping"
RESET, OVERRIDE = "!reset", "!override"
MERGE = "<<"
# Nested mappings and sequences: compose files have ten, and the code after this recurses.
DEEPEST = 100
# Values that aliases add; a file of any size without aliases is read.
MOST_ALIASED = 100_000
_STANDARD = "tag:yaml.org,2002:"


class YamlNode:
    """A part of a document as it is written. `value` is a text, a list of nodes, or a list of pairs of nodes."""

    __slots__ = ("column", "kind", "line", "plain", "tag", "value")

    def __init__(self, kind: str, value: Any, tag: str | None, plain: bool, line: int, column: int) -> None:
        self.kind = kind
        self.value = value
        self.tag = tag
        self.plain = plain
        self.line = line
        self.column = column


class YamlDocument:
    """One document of a file: its values, the paths marked `!reset` and `!override`, and where everything is."""

    def __init__(self, file: str, root: YamlNode) -> None:
        self.file = file
        self.marked: list[tuple[str | int, ...]] = []
        self._root = root
        self._aliased = 0
        self._aliases_open = 0
        self.value = self._construct(root, (), [])

    def locate(self, path: tuple[str | int, ...]) -> tuple[int, FilePosition]:
        """How many parts of a path this document has, and the place of the last of them."""
        node, depth, place = self._root, 0, self._place(self._root)
        for part in path:
            found = child(node, part)
            if found is None:
                break
            key, node = found
            depth, place = depth + 1, self._place(key)
        return depth, place

    def _place(self, node: YamlNode) -> FilePosition:
        return FilePosition(self.file, node.line, node.column)

    def _refuse(self, message: str, node: YamlNode) -> ComposeError:
        return ComposeError(message, place=self._place(node))

    def _construct(self, node: YamlNode, path: tuple[str | int, ...], open_: list[YamlNode]) -> Any:
        if node.kind == SCALAR:
            return self._scalar(node)
        if node in open_:
            raise self._refuse("an alias contains itself", node)
        if len(open_) >= DEEPEST:
            raise self._refuse(f"nested more than {DEEPEST} deep", node)
        open_.append(node)
        value: Any
        if node.kind == SEQUENCE:
            value = []
            for one in node.value:
                if one.tag == RESET:
                    self.marked.append((*path, len(value)))
                    continue
                value.append(self._below(one, (*path, len(value)), open_))
        else:
            value = self._mapping(node, path, open_)
        open_.pop()
        return value

    def _below(self, node: YamlNode, path: tuple[str | int, ...], open_: list[YamlNode]) -> Any:
        """A value of a mapping or a sequence; one that began before its container is an alias's."""
        container = open_[-1]
        is_alias = (node.line, node.column) < (container.line, container.column)
        self._aliases_open += is_alias
        if self._aliases_open:
            self._aliased += 1
            if self._aliased > MOST_ALIASED:
                raise self._refuse(f"aliases make more than {MOST_ALIASED} values of this file", node)
        if node.tag == OVERRIDE:
            self.marked.append(path)
        value = self._construct(node, path, open_)
        self._aliases_open -= is_alias
        return value

    def _mapping(self, node: YamlNode, path: tuple[str | int, ...], open_: list[YamlNode]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[YamlNode] = []
        seen: dict[str, int] = {}
        for key, one in node.value:
            name = key.value if key.kind == SCALAR else None
            if not isinstance(name, str) or (key.plain and not isinstance(scalars.resolve(name), str)):
                where = f"in {'.'.join(map(str, path))}" if path else "at top level"
                shown = name if name is not None else f"a {key.kind}"
                raise self._refuse(f"non-string key {where}: {shown}", key)
            if name in seen:
                raise self._refuse(f'mapping key "{name}" already defined at line {seen[name]}', key)
            seen[name] = key.line
            if name == MERGE and key.plain:
                merged += one.value if one.kind == SEQUENCE else [one]
            elif one.tag == RESET:
                self.marked.append((*path, name))
            else:
                own[name] = self._below(one, (*path, name), open_)
        for one in merged:
            if one.kind != MAPPING:
                raise self._refuse("map merge requires map or sequence of maps as the value", one)
            for name, value in self._below(one, path, open_).items():
                own.setdefault(name, value)
        return own

    def _scalar(self, node: YamlNode) -> Any:
        text: str = node.value
        if node.tag is None or node.tag in (RESET, OVERRIDE):
            return scalars.resolve(text) if node.plain else text
        name = node.tag.removeprefix(_STANDARD)
        if name == node.tag or name in ("str", "binary"):
            return text
        value = scalars.resolve(text)
        kinds: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "null": type(None), "timestamp": str}
        kind = kinds.get(name, str)
        if not isinstance(value, kind) or (isinstance(value, bool) and name != "bool"):
            raise self._refuse(f"cannot decode `{text}` as a !!{name}", node)
        return float(value) if name == "float" and isinstance(value, int) else value


def child(node: YamlNode, part: str | int) -> tuple[YamlNode, YamlNode] | None:
    """The key and the value of a part, or twice the value in a sequence."""
    if node.kind == SEQUENCE and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    if node.kind != MAPPING:
        # The short form of a mapping that is a sequence of names: `environment: [A=1]`.
        for one in node.value if node.kind == SEQUENCE else ():
            if one.kind == SCALAR and one.value.partition("=")[0] == part:
                return one, one
        return None
    for key, value in node.value:
        if key.value == part:
            return key, value
    for key, value in node.value:
        if key.kind == SCALAR and key.value == MERGE and key.plain:
            for one in value.value if value.kind == SEQUENCE else [value]:
                if found := child(one, part):
                    return found
    return None


def compose(content: bytes, file: str) -> list[YamlNode]:
    """The documents of a file as they are written. Raises ComposeError."""
    return _compose(_decoded(content, file), file)


def read(content: bytes, file: str) -> list[YamlDocument]:
    """The documents of a file with their values; an empty one has the value None. Raises ComposeError."""
    return [YamlDocument(file, root) for root in compose(content, file)]


def _decoded(content: bytes, file: str) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = error.start - (before.rfind(b"\n") + 1) + 1
        place = FilePosition(file, before.count(b"\n") + 1, column)
        raise ComposeError(f"invalid {encoding.removesuffix('-sig').upper()} text", place=place) from error


def _compose(text: str, file: str) -> list[YamlNode]:
    parser = CParser(text)
    try:
        return _documents(parser, file)
    except YAMLError as error:
        raise _syntax_error(error, text, file) from error
    finally:
        parser.dispose()


def _documents(parser: Any, file: str) -> list[YamlNode]:
    roots: list[YamlNode] = []
    anchors: dict[str, YamlNode] = {}
    # The mappings and sequences that are open, each with the key that waits for its value.
    open_: list[tuple[YamlNode, list[YamlNode]]] = []
    while (event := parser.get_event()) is not None:
        name = type(event).__name__
        if name in ("SequenceEndEvent", "MappingEndEvent"):
            open_.pop()
            continue
        if name == "DocumentStartEvent":
            anchors = {}
        if name not in ("ScalarEvent", "SequenceStartEvent", "MappingStartEvent", "AliasEvent"):
            continue
        mark = event.start_mark
        if name == "AliasEvent":
            if event.anchor not in anchors:
                place = FilePosition(file, mark.line + 1, mark.column + 1)
                raise ComposeError(f"unknown anchor '{event.anchor}' referenced", place=place)
            node = anchors[event.anchor]
        else:
            node = _node(name, event, mark)
            if event.anchor:
                anchors[event.anchor] = node
        if open_:
            _add(open_[-1], node)
        else:
            roots.append(node)
        if name in ("SequenceStartEvent", "MappingStartEvent"):
            if len(open_) > DEEPEST:
                raise ComposeError(
                    f"nested more than {DEEPEST} deep", place=FilePosition(file, mark.line + 1, mark.column + 1)
                )
            open_.append((node, []))
    return roots


def _node(name: str, event: Any, mark: Any) -> YamlNode:
    line, column = mark.line + 1, mark.column + 1
    if name == "ScalarEvent":
        return YamlNode(SCALAR, event.value, event.tag, event.implicit[0], line, column)
    return YamlNode(SEQUENCE if name == "SequenceStartEvent" else MAPPING, [], event.tag, False, line, column)


def _add(container: tuple[YamlNode, list[YamlNode]], node: YamlNode) -> None:
    parent, keys = container
    if parent.kind == SEQUENCE:
        parent.value.append(node)
    elif keys:
        parent.value.append((keys.pop(), node))
    else:
        keys.append(node)


def _syntax_error(error: Any, text: str, file: str) -> ComposeError:
    mark = getattr(error, "problem_mark", None)
    if hasattr(error, "character"):
        problem = f"unacceptable character #x{error.character:04x}: {error.reason}"
    else:
        problem = str(getattr(error, "problem", None) or error)
    if mark is None:
        found = getattr(error, "position", None)
        line = text.count("\n", 0, found) + 1 if isinstance(found, int) else 1
        return ComposeError(f"yaml: {problem}", place=FilePosition(file, line, 1))
    line, column = mark.line + 1, mark.column + 1
    lines = text.split("\n")
    written = lines[line - 1] if line <= len(lines) else ""
    if written[: len(written) - len(written.lstrip())].count("\t"):
        problem = "a tab indents this line: YAML takes spaces only"
    elif "mapping values are not allowed" in problem:
        problem += ": is a quote missing, or is the line above not finished?"
    return ComposeError(f"yaml: {problem}", place=FilePosition(file, line, column))
