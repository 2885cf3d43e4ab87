"""Executes a parsed template on a value, as Go's text/template/exec.go does, with its error texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from darse.cli.templates import nodes
from darse.cli.templates import values as go
from darse.cli.templates.errors import CallError, ExecError
from darse.cli.templates.functions import REFLECTED, Function
from darse.cli.templates.printing import show
from darse.cli.templates.quoting import quote
from darse.cli.templates.values import Type, Value

_DEEPEST = 150


class _Missing:
    """No value comes from the pipeline (Go's missingVal)."""


_MISSING = _Missing()
Final = Value | None | _Missing


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Evaluator:
    """One execution of a template."""

    def __init__(
        self,
        name: str,
        text: str,
        trees: Mapping[str, Sequence[nodes.Node]],
        functions: Mapping[str, Function],
        *,
        missing_key_is_error: bool,
    ) -> None:
        self._name = self._tree = name
        self._text = text
        self._trees = trees
        self._functions = functions
        self._missing_key_is_error = missing_key_is_error
        self._out: list[str] = []
        self._node: nodes.Node | None = None
        self._variables: list[tuple[str, Value | None]] = []
        self._depth = 0

    def run(self, data: Value | None) -> str:
        """The text. Raises ExecError."""
        if self._name not in self._trees:
            raise ExecError(f"template: {self._name}: {quote(self._name)} is an incomplete or empty template")
        self._variables = [("$", data)]
        self._walk_all(data, self._trees[self._name])
        return "".join(self._out)

    def _fail(self, message: str) -> ExecError:
        if self._node is None:
            return ExecError(f"template: {self._tree}: {message}")
        before = self._text[: self._node.position]
        column = len(before[before.rfind("\n") + 1 :].encode(errors="surrogateescape"))
        place = f"{self._name}:{1 + before.count(chr(10))}:{column}"
        return ExecError(f"template: {place}: executing {quote(self._tree)} at <{self._node}>: {message}")

    # Nodes.

    def _walk_all(self, dot: Value | None, body: Sequence[nodes.Node]) -> None:
        for node in body:
            self._node = node
            self._walk(dot, node)

    def _walk(self, dot: Value | None, node: nodes.Node) -> None:
        if isinstance(node, nodes.Text):
            self._out.append(node.text)
        elif isinstance(node, nodes.Action):
            value = self._pipeline(dot, node.pipe)
            if not node.pipe.variables:
                self._node = node
                self._out.append(_printable(value))
        elif isinstance(node, nodes.Branch):
            if node.kind == "range":
                self._range(dot, node)
            else:
                self._branch(dot, node)
        elif isinstance(node, nodes.Call):
            self._call_template(dot, node)
        elif isinstance(node, nodes.Keyword):
            raise _Break if node.word == "break" else _Continue

    def _branch(self, dot: Value | None, node: nodes.Branch) -> None:
        mark = len(self._variables)
        value = self._pipeline(dot, node.pipe)
        if go.is_true(go.indirect_interface(value)):
            self._walk_all(value if node.kind == "with" else dot, node.then)
        elif node.otherwise is not None:
            self._walk_all(dot, node.otherwise)
        del self._variables[mark:]

    def _range(self, dot: Value | None, node: nodes.Branch) -> None:
        outside = len(self._variables)
        value, _ = go.indirect(self._pipeline(dot, node.pipe))
        mark = len(self._variables)
        items = self._items(node, value)
        try:
            for index, item in items:
                self._bind(node.pipe, index, item)
                try:
                    self._walk_all(item, node.then)
                except _Continue:
                    pass
                finally:
                    del self._variables[mark:]
        except _Break:
            pass
        if not items and node.otherwise is not None:
            self._walk_all(dot, node.otherwise)
        del self._variables[outside:]

    def _items(self, node: nodes.Branch, value: Value | None) -> list[tuple[Value | None, Value | None]]:
        if value is None:
            return []
        if value.type.kind in (go.INT, go.UINT):
            if len(node.pipe.variables) > 1:
                raise self._fail(f"can't use {show(value)} to iterate over more than one variable")
            return [(None, Value(value.type, number)) for number in range(value.data)]
        if value.type.kind == go.SLICE:
            return [(Value(go.INT_TYPE, number), one) for number, one in enumerate(value.data or ())]
        if value.type.kind == go.MAP:
            key = value.type.key or go.STRING_TYPE
            return [(Value(key, name), one) for name, one in sorted((value.data or {}).items(), key=_first)]
        raise self._fail(f"range can't iterate over {show(value)}")

    def _bind(self, pipe: nodes.Pipe, index: Value | None, item: Value | None) -> None:
        """Give the loop's variables their values: one gets the item, two the index and the item."""
        names = [one.names[0] for one in pipe.variables]
        values = [item] if len(names) == 1 else [index, item]
        for number, (name, value) in enumerate(zip(names, values, strict=False)):
            if pipe.assigns:
                self._assign(name, value)
            else:
                self._variables[number - len(names)] = (name, value)

    def _call_template(self, dot: Value | None, node: nodes.Call) -> None:
        if node.name not in self._trees:
            raise self._fail(f"template {quote(node.name)} not defined")
        if self._depth == _DEEPEST:
            raise self._fail(f"exceeded maximum template depth ({_DEEPEST})")
        dot = self._pipeline(dot, node.pipe) if node.pipe is not None else None
        outside = self._variables, self._tree
        self._variables, self._tree = [("$", dot)], node.name
        self._depth += 1
        self._walk_all(dot, self._trees[node.name])
        self._depth -= 1
        self._variables, self._tree = outside

    # Pipelines and commands.

    def _assign(self, name: str, value: Value | None) -> None:
        for number in range(len(self._variables) - 1, -1, -1):
            if self._variables[number][0] == name:
                self._variables[number] = (name, value)
                return
        raise self._fail(f"undefined variable: {name}")

    def _pipeline(self, dot: Value | None, pipe: nodes.Pipe) -> Value | None:
        self._node = pipe
        value: Final = _MISSING
        for command in pipe.commands:
            value = go.indirect_interface(self._command(dot, command, value))
        assert not isinstance(value, _Missing)
        for variable in pipe.variables:
            if pipe.assigns:
                self._assign(variable.names[0], value)
            else:
                self._variables.append((variable.names[0], value))
        return value

    def _command(self, dot: Value | None, command: nodes.Command, final: Final) -> Value | None:
        first, *arguments = command.operands
        if isinstance(first, nodes.Identifier):
            return self._function(dot, first, command, arguments, final)
        if isinstance(first, (nodes.Field, nodes.Chain, nodes.Variable)):
            return self._look_up(dot, first, arguments, final)
        if isinstance(first, nodes.Pipe):
            self._no_arguments(first, arguments, final)
            return self._pipeline(dot, first)
        self._node = first
        self._no_arguments(first, arguments, final)
        if isinstance(first, nodes.Nil):
            raise self._fail("nil is not a command")
        return self._literal(dot, first)

    def _no_arguments(self, first: nodes.Node, arguments: Sequence[nodes.Node], final: Final) -> None:
        if arguments or not isinstance(final, _Missing):
            raise self._fail(f"can't give argument to non-function {first}")

    def _literal(self, dot: Value | None, node: nodes.Node) -> Value | None:
        if isinstance(node, nodes.Dot):
            return dot
        if isinstance(node, nodes.Bool):
            return Value(go.BOOL_TYPE, node.value)
        if isinstance(node, nodes.String):
            return Value(go.STRING_TYPE, node.value)
        assert isinstance(node, nodes.Number)
        return self._number(node)

    def _number(self, node: nodes.Number) -> Value:
        self._node = node
        if node.complex is not None:
            return Value(go.COMPLEX_TYPE, node.complex)
        if node.is_float_text and node.text[0] != "'":
            return Value(go.FLOAT_TYPE, node.float)
        if node.int is None:
            raise self._fail(f"{node.text} overflows int")
        return Value(go.INT_TYPE, node.int)

    # Fields.

    def _look_up(
        self,
        dot: Value | None,
        node: nodes.Field | nodes.Chain | nodes.Variable,
        arguments: Sequence[nodes.Node],
        final: Final,
    ) -> Value | None:
        self._node = node
        names = node.names
        if isinstance(node, nodes.Field):
            value = dot
        elif isinstance(node, nodes.Variable):
            value = self._variable(names[0])
            names = names[1:]
            if not names:
                self._no_arguments(node, arguments, final)
                return value
        else:
            if isinstance(node.node, nodes.Nil):
                raise self._fail(f"indirection through explicit nil in {node}")
            value = self._argument(dot, None, node.node)
        for name in names[:-1]:
            value = self._field(dot, name, node, (), _MISSING, value)
        return self._field(dot, names[-1], node, arguments, final, value)

    def _variable(self, name: str) -> Value | None:
        found: Value | None
        for known, found in reversed(self._variables):
            if known == name:
                return found
        raise self._fail(f"undefined variable: {name}")

    def _field(
        self,
        dot: Value | None,
        name: str,
        node: nodes.Node,
        arguments: Sequence[nodes.Node],
        final: Final,
        receiver: Value | None,
    ) -> Value | None:
        if receiver is None:
            if self._missing_key_is_error:
                raise self._fail(f"nil data; no entry for key {quote(name)}")
            return None
        type_ = receiver.type
        inner, is_nil = go.indirect(receiver)
        assert inner is not None
        if is_nil and inner.type.kind == go.INTERFACE:
            raise self._fail(f"nil pointer evaluating {type_}.{name}")
        owner = None if is_nil else _with_method(receiver, name)
        if owner is not None:
            method = owner.type.methods[name]
            function = Function(lambda *given: method.call(owner.data, *given), method.parameters)
            return self._invoke(dot, function, name, node, arguments, final)
        if inner.type.kind == go.STRUCT:
            found = go.field(inner, name)
            if found is not None:
                if arguments or not isinstance(final, _Missing):
                    raise self._fail(f"{name} has arguments but cannot be invoked as function")
                return found
        elif inner.type.kind == go.MAP:
            return self._entry(inner, name, bool(arguments) or not isinstance(final, _Missing))
        elif inner.type.kind == go.POINTER:
            elem = inner.type.elem
            if elem is None or elem.kind != go.STRUCT or go.field(go.zero(elem), name) is not None:
                raise self._fail(f"nil pointer evaluating {type_}.{name}")
        raise self._fail(f"can't evaluate field {name} in type {type_}")

    def _entry(self, inner: Value, name: str, has_arguments: bool) -> Value | None:
        if has_arguments:
            raise self._fail(f"{name} is not a method but has arguments")
        data = inner.data or {}
        if name in data:
            return data[name]  # type: ignore[no-any-return]
        if self._missing_key_is_error:
            raise self._fail(f"map has no entry for key {quote(name)}")
        return None

    # Calls.

    def _function(
        self,
        dot: Value | None,
        node: nodes.Identifier,
        where: nodes.Node,
        arguments: Sequence[nodes.Node],
        final: Final,
    ) -> Value | None:
        self._node = node
        function = self._functions[node.name]
        if node.name in ("and", "or"):
            self._check_count(function, node.name, arguments, final)
            return self._logic(dot, node.name, arguments, final)
        if node.name == "call":
            name = Value(go.STRING_TYPE, str(arguments[0] if arguments else where))
            function = function._replace(call=partial(function.call, name))
        return self._invoke(dot, function, node.name, where, arguments, final)

    def _logic(self, dot: Value | None, name: str, arguments: Sequence[nodes.Node], final: Final) -> Value | None:
        """`and` and `or` look no further than they must."""
        value: Value | None = None
        for one in arguments:
            value = self._argument(dot, REFLECTED, one)
            if go.is_true(go.indirect_interface(value)) == (name == "or"):
                return value
        return value if isinstance(final, _Missing) else final

    def _check_count(self, function: Function, name: str, arguments: Sequence[nodes.Node], final: Final) -> None:
        wanted, given = len(function.parameters), len(arguments) + (not isinstance(final, _Missing))
        if function.more is not None:
            if given < wanted:
                raise self._fail(f"wrong number of args for {name}: want at least {wanted} got {len(arguments)}")
        elif given != wanted:
            raise self._fail(f"wrong number of args for {name}: want {wanted} got {given}")

    def _invoke(
        self,
        dot: Value | None,
        function: Function,
        name: str,
        where: nodes.Node,
        arguments: Sequence[nodes.Node],
        final: Final,
    ) -> Value | None:
        self._check_count(function, name, arguments, final)
        fixed = len(function.parameters)

        def parameter(number: int) -> Type:
            type_ = function.parameters[number] if number < fixed else function.more
            assert type_ is not None
            return type_

        values = [self._argument(dot, parameter(number), one) for number, one in enumerate(arguments)]
        if not isinstance(final, _Missing):
            values.append(self._fit(final, parameter(len(values))))
        try:
            return function.call(*values)
        except CallError as error:
            self._node = where
            raise self._fail(f"error calling {name}: {error}") from error

    def _argument(self, dot: Value | None, wanted: Type | None, node: nodes.Node) -> Value | None:
        self._node = node
        if isinstance(node, nodes.Dot):
            return self._fit(dot, wanted)
        if isinstance(node, nodes.Nil):
            if wanted is None or wanted is REFLECTED or wanted.kind in go.NILLABLE:
                return None if wanted is None or wanted is REFLECTED else Value(wanted, None)
            raise self._fail(f"cannot assign nil to {wanted}")
        if isinstance(node, (nodes.Field, nodes.Variable, nodes.Chain)):
            return self._fit(self._look_up(dot, node, (), _MISSING), wanted)
        if isinstance(node, nodes.Pipe):
            return self._fit(self._pipeline(dot, node), wanted)
        if isinstance(node, nodes.Identifier):
            return self._fit(self._function(dot, node, node, (), _MISSING), wanted)
        return self._constant(dot, wanted, node)

    def _constant(self, dot: Value | None, wanted: Type | None, node: nodes.Node) -> Value | None:
        if wanted is None or wanted is REFLECTED or wanted.kind == go.INTERFACE:
            return self._literal(dot, node)
        if wanted.kind == go.STRING:
            if isinstance(node, nodes.String):
                return Value(wanted, node.value)
            raise self._fail(f"expected string; found {node}")
        if wanted.kind == go.INT:
            if isinstance(node, nodes.Number) and node.int is not None:
                return Value(wanted, node.int)
            raise self._fail(f"expected integer; found {node}")
        raise self._fail(f"can't handle {node} for arg of type {wanted}")

    def _fit(self, value: Value | None, wanted: Type | None) -> Value | None:
        """The value as a parameter of this type takes it."""
        if wanted is None or wanted is REFLECTED:
            return value
        if value is None:
            if wanted.kind in go.NILLABLE:
                return Value(wanted, None)
            raise self._fail(f"invalid value; expected {wanted}")
        if wanted.kind == go.INTERFACE or _assignable(value.type, wanted):
            return value
        if value.type.kind == go.INTERFACE and value.data is not None:
            value = value.data
            assert value is not None
            if _assignable(value.type, wanted):
                return value
        if value.type.kind == go.POINTER and value.type.elem is not None and _assignable(value.type.elem, wanted):
            if value.data is None:
                raise self._fail(f"dereference of nil pointer of type {wanted}")
            pointed: Value = value.data
            return pointed
        raise self._fail(f"wrong type for value; expected {wanted}; got {value.type}")


def _first(pair: tuple[str, object]) -> str:
    return pair[0]


def _with_method(receiver: Value, name: str) -> Value | None:
    """What has a method of this name: what is pointed to, or else a pointer on the way there."""
    found, value = None, receiver
    while True:
        if name in value.type.methods:
            found = value
        if value.type.kind not in (go.POINTER, go.INTERFACE) or value.data is None:
            return found
        value = value.data


def _assignable(given: Type, wanted: Type) -> bool:
    """Go's assignability, for the parameters that our functions have: string, int and []string."""
    if given.name == wanted.name:
        return True
    if wanted.kind != go.SLICE or given.kind != go.SLICE:
        return False
    # A named slice type such as strslice.StrSlice is assignable to []string.
    return not given.name.startswith("[]") and given.elem is not None and given.elem.name == "string"


def _printable(value: Value | None) -> str:
    """What an action shows."""
    if value is None:
        return "<no value>"
    if value.type.kind == go.POINTER and "String" not in value.type.methods:
        inner, is_nil = go.indirect(value)
        return "<nil>" if is_nil else show(inner)
    if value.type.kind == go.INTERFACE and value.data is None:
        return "<nil>"
    return show(value)
