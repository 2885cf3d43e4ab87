"""How a template fails: while it is parsed, and while it is executed. The texts are those of Go's text/template."""

from __future__ import annotations


class TemplateError(Exception):
    """A template cannot be parsed or executed; `str()` is Go's text."""


class ParseError(TemplateError):
    """The text is no template."""


class ExecError(TemplateError):
    """The template does not fit its data."""


class CallError(Exception):
    """A function refuses its arguments; the evaluator adds where."""
