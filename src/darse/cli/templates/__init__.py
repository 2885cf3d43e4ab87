"""The language of `--format`: Go's text/template with docker's functions, as their documentation describes them.

`scanner` and `parser` make blocks of the text, of expressions that `evaluate` has. `values` says what these look at and
`api_types` what is known of the API's objects, `functions` is the table of functions, `printing` has printf and JSON.
A format may be somebody else's: the depth, the steps and the output of a template are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from darse.cli.templates.evaluate import Execution
from darse.cli.templates.functions import FUNCTIONS, HEADING_FUNCTIONS, Function
from darse.cli.templates.parser import parse
from darse.cli.templates.values import NIL, Headings, TemplateError, of_json

__all__ = ["Template", "TemplateError"]


class Template:
    """A parsed template."""

    def __init__(self, text: str, name: str = "") -> None:
        """Parse. Raises TemplateError."""
        self._text, self._name = text, name
        try:
            self._blocks = parse(name, text, FUNCTIONS)
        except RecursionError:
            raise TemplateError(f"template: {name}:1: max expression depth exceeded") from None

    def execute(
        self,
        value: Any,
        read: Callable[[Any], Any] = lambda value: value,
        *,
        strict: bool = False,
        functions: Mapping[str, Function] = FUNCTIONS,
    ) -> str:
        """The text for what is read of a value; `strict`: what is not there is an error. Raises TemplateError."""
        state = Execution(self._name, self._text, self._blocks, functions, strict=strict)
        try:
            dot = read(value)
            dot = None if dot is NIL else dot
            state.variables.append(["$", dot])
            self._blocks[self._name](state, dot)
        except RecursionError:
            raise TemplateError(f"template: {self._name}: exceeded maximum template depth") from None
        return "".join(state.output)

    def of_json(self, document: Any) -> str:
        """The text for a JSON document, in which what is not there is an error. Raises TemplateError."""
        return self.execute(document, lambda one: of_json(one, exact=True), strict=True)

    def of_type(self, document: Any, name: str) -> str:
        """The text for an object of the API, of a type that `api_types` has. Raises TemplateError."""
        from darse.cli.templates.api_types import typed

        return self.execute(document, lambda one: typed(one, name))

    def heading(self, headings: Mapping[str, str]) -> str:
        """The heading of a table whose rows the template makes. Raises TemplateError."""
        return self.execute(Headings("formatter.SubHeaderContext", headings, ""), functions=HEADING_FUNCTIONS)
