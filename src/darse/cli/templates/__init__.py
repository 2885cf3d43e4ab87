"""Go's text/template, for `--format`: written anew, because users' formats are Go templates.

    Template("{{.Names}}\\t{{upper .Image}}").render({"Names": "web", "Image": "nginx"})

Values are JSON's. A map that is `strict` (a table row) refuses fields that it does not have, as Go's structs do;
other maps have `<no value>` for them. See https://pkg.go.dev/text/template.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from darse.cli.templates.functions import FUNCTIONS, NAMES
from darse.cli.templates.lexer import TemplateError
from darse.cli.templates.parser import Action, Branch, Include, Jump, Node, Operand, Parser, Pipeline, Text
from darse.cli.templates.values import MISSING, go_print, is_true, kind_of

__all__ = ["Template", "TemplateError"]
_DEPTH = 100


class _LoopEnd(Exception):
    """break or continue."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Template:
    """A template that was read; it can be carried out for many values."""

    def __init__(self, text: str) -> None:
        """Raises TemplateError in Go's words."""
        parser = Parser(text, NAMES)
        self._nodes = parser.parse()
        self._defined = parser.defined

    def render(self, value: Any, *, strict: bool = False) -> str:
        """The text for a value. Raises TemplateError; with `strict`, also for a missing field of `value` itself."""
        return _Evaluator(self._defined, value, strict=strict).run(self._nodes, value)


class _Evaluator:
    """One carrying out of a template."""

    def __init__(self, defined: dict[str, list[Node]], root: Any, *, strict: bool, depth: int = 0) -> None:
        self._defined = defined
        self._root = root
        self._strict = strict
        self._depth = depth
        self._scopes: list[dict[str, Any]] = [{"$": root}]

    def run(self, nodes: Iterable[Node], dot: Any) -> str:
        """Carry out nodes."""
        output: list[str] = []
        self._nodes(nodes, dot, output)
        return "".join(output)

    def _nodes(self, nodes: Iterable[Node], dot: Any, output: list[str]) -> None:
        for node in nodes:
            if isinstance(node, Text):
                output.append(node.text)
            elif isinstance(node, Action):
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.variables:
                    output.append(go_print(value))
            elif isinstance(node, Branch):
                self._scoped_branch(node, dot, output)
            elif isinstance(node, Jump):
                raise _LoopEnd(node.kind)
            else:
                output.append(self._include(node, dot))

    def _scoped_branch(self, node: Branch, dot: Any, output: list[str]) -> None:
        self._scopes.append({})
        try:
            if node.kind == "range":
                self._range(node, dot, output)
                return
            value = self._pipeline(node.pipeline, dot)
            if is_true(value):
                self._nodes(node.body, value if node.kind == "with" else dot, output)
            else:
                self._nodes(node.otherwise, dot, output)
        finally:
            self._scopes.pop()

    def _range(self, node: Branch, dot: Any, output: list[str]) -> None:
        value = self._pipeline(Pipeline(node.pipeline.commands), dot)
        pairs: list[tuple[Any, Any]]
        if isinstance(value, dict):
            pairs = sorted(value.items())
        elif isinstance(value, list):
            pairs = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            pairs = [(number, number) for number in range(value)]
        elif value is None or value is MISSING:
            pairs = []
        else:
            raise self._error(f"range can't iterate over {go_print(value)}")
        for key, item in pairs:
            self._scopes.append(dict(_loop_variables(node.pipeline.variables, key, item)))
            try:
                self._nodes(node.body, item, output)
            except _LoopEnd as end:
                if end.kind == "break":
                    break
            finally:
                self._scopes.pop()
        if not pairs:
            self._nodes(node.otherwise, dot, output)

    def _include(self, node: Include, dot: Any) -> str:
        if node.name not in self._defined:
            raise self._error(f'template "{node.name}" not defined')
        if self._depth >= _DEPTH:
            raise self._error(f"exceeded maximum template depth ({_DEPTH})")
        value = self._pipeline(node.pipeline, dot) if node.pipeline is not None else None
        inner = _Evaluator(self._defined, value, strict=self._strict, depth=self._depth + 1)
        return inner.run(self._defined[node.name], value)

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = MISSING
        for number, command in enumerate(pipeline.commands):
            value = self._command(command, dot, [value] if number else [])
        for name in pipeline.variables:
            if pipeline.assigns:
                self._scope_of(name)[name] = value
            else:
                self._scopes[-1][name] = value
        return value

    def _scope_of(self, name: str) -> dict[str, Any]:
        scope: dict[str, Any]
        for scope in reversed(self._scopes):
            if name in scope:
                return scope
        raise TemplateError(f'template: :1: undefined variable "{name}"')

    def _command(self, command: list[Operand], dot: Any, last: list[Any]) -> Any:
        first, *rest = command
        if first.kind != "function":
            if rest or last:
                raise self._error(f"can't give argument to non-function {_shown(first)}")
            return self._value(first, dot)
        name = str(first.value)
        if name in ("and", "or"):
            return self._short_circuit(name, rest, dot, last)
        arguments = [self._value(operand, dot) for operand in rest] + last
        try:
            return self._fields(first.fields, FUNCTIONS[name](*arguments))
        except TemplateError as error:
            raise self._error(str(error), _shown(first)) from error
        except TypeError as error:
            raise self._error(f"wrong number of args for {name}: got {len(arguments)}", _shown(first)) from error
        except AttributeError as error:
            wrong = kind_of(arguments[0]) if arguments else "<nil>"
            raise self._error(f"wrong type for value; expected string; got {wrong}", _shown(first)) from error

    def _short_circuit(self, name: str, operands: list[Operand], dot: Any, last: list[Any]) -> Any:
        value: Any = MISSING
        for operand in operands:
            value = self._value(operand, dot)
            if is_true(value) == (name == "or"):
                return value
        return last[0] if last else value

    def _value(self, operand: Operand, dot: Any) -> Any:
        if operand.kind == "literal":
            return self._fields(operand.fields, operand.value)
        if operand.kind == "dot":
            return self._fields(operand.fields, dot)
        if operand.kind == "variable":
            name = str(operand.value)
            return self._fields(operand.fields, self._scope_of(name)[name])
        if operand.kind == "pipeline":
            assert isinstance(operand.value, Pipeline)
            return self._fields(operand.fields, self._pipeline(operand.value, dot))
        return self._command([operand], dot, [])

    def _fields(self, names: list[str], value: Any) -> Any:
        for number, name in enumerate(names):
            path = "." + ".".join(names[: number + 1])
            if isinstance(value, dict):
                if name in value:
                    value = value[name]
                elif self._strict:
                    text = f"can't evaluate field {name} in type {kind_of(value)}"
                    if value is not self._root:
                        text = f'map has no entry for key "{name}"'
                    raise self._error(text, path)
                else:
                    value = MISSING
            elif value is None or value is MISSING:
                if self._strict:
                    raise self._error(f"nil pointer evaluating interface {{}}.{name}", path)
                value = MISSING
            else:
                raise self._error(f"can't evaluate field {name} in type {kind_of(value)}", path)
        return value

    @staticmethod
    def _error(text: str, where: str = "") -> TemplateError:
        place = f' executing "" at <{where}>:' if where else ""
        return TemplateError(f"template: :1:{place} {text}")


def _loop_variables(names: list[str], key: Any, item: Any) -> list[tuple[str, Any]]:
    if len(names) == 2:
        return [(names[0], key), (names[1], item)]
    return [(name, item) for name in names]


def _shown(operand: Operand) -> str:
    if operand.kind == "dot":
        return "." + ".".join(operand.fields)
    return str(operand.value)
