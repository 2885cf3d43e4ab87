"""Go's text/template, for `--format`: docker's users write their formats in it.

It follows Go's own lexer, parser and evaluator function by function, for formats depend on details: when spaces are
trimmed, what is true, how a map is printed, what an error says. `tests/unit/cli/data` has what Go itself prints.
"""

from __future__ import annotations

from typing import Any

from darse.cli.templates import evaluate
from darse.cli.templates import values as go
from darse.cli.templates.errors import ExecError, ParseError, TemplateError
from darse.cli.templates.functions import FUNCTIONS, HEADING_FUNCTIONS
from darse.cli.templates.parser import parse
from darse.cli.templates.values import Methods, Type, Value

__all__ = ["ExecError", "Methods", "ParseError", "Template", "TemplateError", "Type", "Value"]


class Template:
    """A parsed template."""

    def __init__(self, text: str, name: str = "") -> None:
        """Parse. Raises ParseError."""
        self._text = text
        self._name = name
        try:
            self._trees = parse(name, text, FUNCTIONS)
        except RecursionError:
            raise ParseError(f"template: {name}:1: max expression depth exceeded") from None

    def execute(self, value: Value | None, *, missing_key_is_error: bool = False, for_heading: bool = False) -> str:
        """The text for a value. Raises ExecError."""
        functions = HEADING_FUNCTIONS if for_heading else FUNCTIONS
        evaluator = evaluate.Evaluator(
            self._name, self._text, self._trees, functions, missing_key_is_error=missing_key_is_error
        )
        try:
            return evaluator.run(value)
        except RecursionError:
            raise ExecError(f"template: {self._name}: exceeded maximum template depth") from None

    def of_json(self, document: Any, *, missing_key_is_error: bool = False) -> str:
        """The text for a JSON document, read as Go reads JSON into `any`. Raises ExecError."""
        return self.execute(go.of_json(document), missing_key_is_error=missing_key_is_error)

    def of_object(self, data: Methods) -> str:
        """The text for one of our objects. Raises ExecError."""
        return self.execute(go.of_python(data))
