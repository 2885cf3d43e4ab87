"""Expressions of templates, and how they are evaluated: fields, functions with their arguments, pipelines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from darse.cli.templates.functions import ANY, INT, STRING, STRINGS, Function
from darse.cli.templates.printing import LONGEST, bounded
from darse.cli.templates.values import NIL, CallError, List, Nil, Struct, TemplateError, methods, type_name
from darse.quoting import quote

# What a command gets from the one before it in a pipeline when it is the first; None is a value, too.
MISSING: Any = object()
# A template may be somebody else's: it ends, and its output does.
_MOST_STEPS, _MOST_OUTPUT = 1_000_000, 4 * LONGEST


class Execution:
    """One execution of a template."""

    def __init__(
        self, name: str, source: str, blocks: Mapping[str, Block], functions: Mapping[str, Function], *, strict: bool
    ) -> None:
        self._name, self._source = name, source
        self.blocks, self.functions, self.strict = blocks, functions, strict
        # The name of the block that runs, its variables as pairs of name and value, and the part that is evaluated.
        self.running, self.variables, self.at = name, list[list[Any]](), Operand(0, "")
        # What the innermost `range` over JSON is at: errors do not show its type.
        self.element: Any = None
        self.output: list[str] = []
        self._length = self._steps = 0

    def fail(self, message: str) -> NoReturn:
        """Raise TemplateError for the part that is evaluated."""
        before = self._source[: self.at.position]
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2].encode(errors="surrogateescape"))
        where = f"{self._name}:{line}:{column}: executing {quote(self.running)} at <{self.at.text}>"
        raise TemplateError(f"template: {where}: {message}")

    def write(self, text: str) -> None:
        """Add to the output."""
        self._length += len(text)
        if self._length > _MOST_OUTPUT:
            self.fail(f"the output is longer than {_MOST_OUTPUT} characters")
        self.output.append(text)

    def step(self) -> None:
        """Count a turn of a loop, or a call of a template."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            self.fail(f"the template takes more than {_MOST_STEPS} steps")

    def variable(self, name: str) -> list[Any]:
        """The innermost variable of a name."""
        found = [variable for variable in self.variables if variable[0] == name]
        return found[-1] if found else self.fail(f"undefined variable: {name}")


Block = Callable[[Execution, Any], None]


class Jump(Exception):
    """`{{break}}` or `{{continue}}` on its way to its `range`."""


class Operand:
    """Something with a value; errors show its position and text."""

    def __init__(self, position: int, text: str) -> None:
        self.position, self.text = position, text

    def apply(self, state: Execution, dot: Any, command: PipelineCommand, final: Any) -> Any:
        """Its value as the first word of a command, `final` being the value of the command before."""
        raise NotImplementedError

    def evaluate(self, state: Execution, dot: Any) -> Any:
        """Its value as a word among others."""
        return self.apply(state, dot, _ALONE, MISSING)


class PipelineCommand(Operand):
    """A word and its arguments."""

    def __init__(self, position: int, text: str, first: Operand, arguments: Sequence[Operand]) -> None:
        super().__init__(position, text)
        self.first, self.arguments = first, arguments


class Plain(Operand):
    """What takes no arguments: the dot, a variable, or a constant with its value, also as an integer if it has one."""

    def __init__(self, position: int, text: str, constant: tuple[Any, int | None] | None = None) -> None:
        super().__init__(position, text)
        self.constant = constant

    def apply(self, state: Execution, dot: Any, command: PipelineCommand, final: Any) -> Any:
        state.at = self
        if command.arguments or final is not MISSING:
            state.fail(f"can't give argument to non-function {self.text}")
        if self.constant is None:
            return state.variable(self.text)[1] if self.text[:1] == "$" else dot
        value = self.constant[0]
        if value is None:
            state.fail("nil is not a command")
        return state.fail(f"{self.text} overflows int") if type(value) is int and value >= 1 << 63 else value


class Fields(Operand):
    """Fields, each of what the one before it holds: `.A.B`, `$x.A`, `(f 1).A`."""

    def __init__(self, position: int, text: str, base: Operand, names: Sequence[str]) -> None:
        super().__init__(position, text)
        self._base, self._names = base, names

    def apply(self, state: Execution, dot: Any, command: PipelineCommand, final: Any) -> Any:
        holder, value = None, self._base.evaluate(state, dot)
        if isinstance(self._base, Plain):
            state.at = self
        for name in self._names[:-1]:
            holder, value = value, _field(state, dot, holder, value, name, _ALONE, MISSING)
        return _field(state, dot, holder, value, self._names[-1], command, final)


class FunctionCall(Operand):
    """A function by its name."""

    def apply(self, state: Execution, dot: Any, command: PipelineCommand, final: Any) -> Any:
        state.at, name = self, self.text
        function = state.functions[name]
        arguments = _arguments(state, dot, name, command, final, function.parameters, function.more)
        if name in ("and", "or"):  # they evaluate no more arguments than they need
            value = None
            for value in arguments:
                if bool(value) is (name == "or"):
                    break
            return value
        values = list(arguments)
        if name == "call":  # its error shows the source
            values.insert(0, command.arguments[0].text if command.arguments else "it")
        try:
            result = function.call(*values)
            if isinstance(result, str):
                bounded((result,))
        except CallError as error:
            state.at = command
            state.fail(f"error calling {name}: {error}")
        return result


class Pipeline(Operand):
    """Commands, each of which gets the value of the one before it; `names` are the variables to declare or to set."""

    def __init__(
        self,
        position: int,
        text: str,
        commands: Sequence[PipelineCommand],
        names: Sequence[str] = (),
        *,
        sets: bool = False,
    ) -> None:
        super().__init__(position, text)
        self.commands, self.names, self._sets = commands, names, sets

    def apply(self, state: Execution, dot: Any, command: PipelineCommand, final: Any) -> Any:
        if command.arguments or final is not MISSING:
            state.fail(f"can't give argument to non-function {self.text}")
        state.at = self
        value = MISSING
        for one in self.commands:
            value = one.first.apply(state, dot, one, value)
            value = None if value is NIL else value
        for name in self.names:
            if self._sets:
                state.variable(name)[1] = value
            else:
                state.variables.append([name, value])
        return value


_ALONE = PipelineCommand(0, "", Operand(0, ""), ())


def _field(state: Execution, dot: Any, holder: Any, value: Any, name: str, command: PipelineCommand, final: Any) -> Any:
    """A field of a value, which is itself a field of `holder`."""
    if value is None:
        return state.fail(f"nil data; no entry for key {quote(name)}") if state.strict else None
    method = methods(type(value)).get(name)
    if method is not None:
        parameters = (STRING,) * (method.__code__.co_argcount - 1)
        found = method(value, *_arguments(state, dot, name, command, final, parameters, ""))
        if type(found) is list:
            return List(f"[]{type_name(found[0])}" if found else STRINGS, found)
        return Nil("*formatter.Platform") if found is None else found
    if isinstance(value, Nil):
        state.fail(f"nil pointer evaluating {value.GO_NAME}.{name}")
    field = value.find(name) if isinstance(value, Struct) else None
    if field is None and not isinstance(value, dict):
        is_hidden = type(holder) is dict or value is state.element
        state.fail(f"can't evaluate field {name} in type {'interface {}' if is_hidden else type_name(value)}")
    if command.arguments or final is not MISSING:
        state.fail(f"{name} is not a method but has arguments")
    if field is not None:
        return value.value(field)
    if state.strict and name not in value:
        state.fail(f"map has no entry for key {quote(name)}")
    return value.get(name)


def _arguments(
    state: Execution, dot: Any, name: str, command: PipelineCommand, final: Any, parameters: Sequence[str], more: str
) -> Iterator[Any]:
    """The arguments of a function or a method, which must be of the types of its parameters."""
    given = len(command.arguments) + (final is not MISSING)
    if given < len(parameters) or (given > len(parameters) and not more):
        at_least = "at least " if more else ""
        state.fail(f"wrong number of args for {name}: want {at_least}{len(parameters)} got {given}")
    types = itertools.chain(parameters, itertools.repeat(more))
    for node, type_ in zip(command.arguments, types, strict=False):
        state.at = node
        if isinstance(node, Plain) and node.constant and type_ != ANY:
            yield _constant(state, node.text, type_, *node.constant)
        elif node.text == "nil":
            yield None
        else:
            yield _fitting(state, node.evaluate(state, dot), type_)
    if final is not MISSING:
        yield _fitting(state, final, next(types))


def _constant(state: Execution, text: str, type_: str, value: Any, integer: int | None) -> Any:
    """A constant where a type is required."""
    if value is None:
        return List(STRINGS, [], is_nil=True) if type_ == STRINGS else state.fail(f"cannot assign nil to {type_}")
    if type_ == INT:
        return state.fail(f"expected integer; found {text}") if integer is None else integer
    if type_ == STRING:
        return value if isinstance(value, str) else state.fail(f"expected string; found {text}")
    return state.fail(f"can't handle {text} for arg of type {type_}")


def _fitting(state: Execution, value: Any, type_: str) -> Any:
    """A value where a type is required."""
    if type_ == ANY or (value is not None and type_name(value) == type_):
        return value
    if value is not None:
        state.fail(f"wrong type for value; expected {type_}; got {type_name(value)}")
    return List(STRINGS, [], is_nil=True) if type_ == STRINGS else state.fail(f"invalid value; expected {type_}")
