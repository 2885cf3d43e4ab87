"""The parts of a parsed template. `str()` of a node is its source as Go prints it in errors."""

from __future__ import annotations

from darse.cli.templates.quoting import quote, unquote_character

_INT64, _UINT64 = 1 << 63, 1 << 64


class Node:
    """Something in a template, and where it begins (index of a character)."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


class Text(Node):
    """Text between actions."""

    __slots__ = ("text",)

    def __init__(self, position: int, text: str) -> None:
        super().__init__(position)
        self.text = text

    def __str__(self) -> str:
        return self.text


class Dot(Node):
    """`.`"""

    __slots__ = ()

    def __str__(self) -> str:
        return "."


class Nil(Node):
    """`nil`"""

    __slots__ = ()

    def __str__(self) -> str:
        return "nil"


class Bool(Node):
    """`true` or `false`."""

    __slots__ = ("value",)

    def __init__(self, position: int, value: bool) -> None:
        super().__init__(position)
        self.value = value

    def __str__(self) -> str:
        return "true" if self.value else "false"


class String(Node):
    """A quoted string."""

    __slots__ = ("quoted", "value")

    def __init__(self, position: int, quoted: str, value: str) -> None:
        super().__init__(position)
        self.quoted = quoted
        self.value = value

    def __str__(self) -> str:
        return self.quoted


class Number(Node):
    """A number, under each type that can hold it; None under the others."""

    __slots__ = ("complex", "float", "int", "is_float_text", "text", "unsigned")

    def __init__(self, position: int, text: str) -> None:
        """Read `text`. Raises ValueError in Go's words."""
        super().__init__(position)
        self.text = text
        self.int: int | None = None
        self.unsigned: int | None = None
        self.float: float | None = None
        self.complex: complex | None = None
        self.is_float_text = False
        if text[0] == "'":
            self._hold(_character(text))
        elif text[-1] == "i":
            self._read_complex()
        else:
            self._read()

    def __str__(self) -> str:
        return self.text

    def _hold(self, value: int) -> None:
        self.int = value if -_INT64 <= value < _INT64 else None
        self.unsigned = value if 0 <= value < _UINT64 else None
        self.float = float(value)

    def _read_complex(self) -> None:
        body = self.text[:-1]
        split = max(body.rfind("+", 1), body.rfind("-", 1))
        while split > 0 and body[split - 1] in "eEpP":
            split = max(body.rfind("+", 1, split), body.rfind("-", 1, split))
        try:
            real = _float(body[:split]) if split > 0 else 0.0
            self.complex = complex(real, _float(body[split:] if split > 0 else body))
        except ValueError:
            raise ValueError(f"illegal number syntax: {quote(self.text)}") from None
        if not self.complex.imag and self.complex.real.is_integer():
            self._hold(int(self.complex.real))

    def _read(self) -> None:
        text = self.text
        whole = _integer(text)
        has_float_mark = any(mark in text for mark in ".eEpP")
        is_hexadecimal = text.lstrip("+-")[:2].lower() == "0x"
        self.is_float_text = has_float_mark and not (is_hexadecimal and "p" not in text.lower())
        if whole is not None and -_INT64 <= whole < _UINT64 and not (text[0] == "+" and whole >= _INT64):
            self._hold(whole)
            if text[0] in "+-" and whole:
                self.unsigned = None
            return
        try:
            value = _float(text)
        except ValueError:
            raise ValueError(f"illegal number syntax: {quote(text)}") from None
        if not has_float_mark:
            raise ValueError(f"integer overflow: {quote(text)}")
        if value.is_integer():
            self._hold(int(value))
        self.float = value


def _character(text: str) -> int:
    if len(text) < 3:
        raise ValueError("invalid syntax")
    piece, at = unquote_character(text, 1, "'")
    if text[at:] != "'":
        raise ValueError(f"malformed character constant: {text}")
    if text[1:2] == "\\" and len(piece) == 1:
        return piece[0]
    return ord(piece.decode())


def _integer(text: str) -> int | None:
    """strconv.ParseInt with base 0."""
    digits = text.lstrip("+-")
    if len(text) - len(digits) > 1 or not digits:
        return None
    if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_":
        text = text[: -len(digits)] + "0o" + digits[1:]
    if not digits[0].isdigit():
        return None
    try:
        return int(text, 0)
    except ValueError:
        return None


def _float(text: str) -> float:
    """strconv.ParseFloat."""
    if "_" in text:
        raise ValueError(text)
    if "0x" in text.lower():
        if "p" not in text.lower():
            raise ValueError(text)
        return float.fromhex(text)
    if not any(character.isdigit() for character in text) or any(character in "xXnN" for character in text):
        raise ValueError(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


class Identifier(Node):
    """The name of a function."""

    __slots__ = ("name",)

    def __init__(self, position: int, name: str) -> None:
        super().__init__(position)
        self.name = name

    def __str__(self) -> str:
        return self.name


class Field(Node):
    """`.A.B`"""

    __slots__ = ("names",)

    def __init__(self, position: int, names: list[str]) -> None:
        super().__init__(position)
        self.names = names

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """`$x.A.B`; the first name has its `$`."""

    __slots__ = ("names",)

    def __init__(self, position: int, names: list[str]) -> None:
        super().__init__(position)
        self.names = names

    def __str__(self) -> str:
        return ".".join(self.names)


class Chain(Node):
    """`(…).A.B`"""

    __slots__ = ("names", "node")

    def __init__(self, position: int, node: Node, names: list[str]) -> None:
        super().__init__(position)
        self.node = node
        self.names = names

    def __str__(self) -> str:
        head = f"({self.node})" if isinstance(self.node, Pipe) else str(self.node)
        return head + "".join(f".{name}" for name in self.names)


class Command(Node):
    """Operands; the first may be a function or method that gets the others."""

    __slots__ = ("operands",)

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.operands: list[Node] = []

    def __str__(self) -> str:
        return " ".join(f"({one})" if isinstance(one, Pipe) else str(one) for one in self.operands)


class Pipe(Node):
    """Commands, each given the value of the one before; variables that take the last value."""

    __slots__ = ("assigns", "commands", "variables")

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.assigns = False
        self.variables: list[Variable] = []
        self.commands: list[Command] = []

    def __str__(self) -> str:
        head = ""
        if self.variables:
            head = ", ".join(map(str, self.variables)) + (" = " if self.assigns else " := ")
        return head + " | ".join(map(str, self.commands))


class Action(Node):
    """`{{pipeline}}`"""

    __slots__ = ("pipe",)

    def __init__(self, position: int, pipe: Pipe) -> None:
        super().__init__(position)
        self.pipe = pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


class Branch(Node):
    """`if`, `with` or `range` (`kind`)."""

    __slots__ = ("kind", "otherwise", "pipe", "then")

    def __init__(self, position: int, kind: str, pipe: Pipe, then: list[Node], otherwise: list[Node] | None) -> None:
        super().__init__(position)
        self.kind = kind
        self.pipe = pipe
        self.then = then
        self.otherwise = otherwise

    def __str__(self) -> str:
        tail = "" if self.otherwise is None else "{{else}}" + "".join(map(str, self.otherwise))
        return f"{{{{{self.kind} {self.pipe}}}}}{''.join(map(str, self.then))}{tail}{{{{end}}}}"


class Call(Node):
    """`{{template "name" pipeline}}`"""

    __slots__ = ("name", "pipe")

    def __init__(self, position: int, name: str, pipe: Pipe | None) -> None:
        super().__init__(position)
        self.name = name
        self.pipe = pipe

    def __str__(self) -> str:
        return f"{{{{template {quote(self.name)}{f' {self.pipe}' if self.pipe else ''}}}}}"


class Keyword(Node):
    """`{{break}}`, `{{continue}}`; while parsing also `{{end}}` and `{{else}}`."""

    __slots__ = ("word",)

    def __init__(self, position: int, word: str) -> None:
        super().__init__(position)
        self.word = word

    def __str__(self) -> str:
        return f"{{{{{self.word}}}}}"
