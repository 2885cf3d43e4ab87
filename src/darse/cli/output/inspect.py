"""`inspect` of any object: JSON as the engine sent it, or a template.

A template is tried on the API's type of the object first (`.ID`, `{{.State}}`), and when that does not fit on the JSON
itself (`.Id`, fields that the type does not have), as `docker inspect` does it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from darse.cli.errors import CliError

if TYPE_CHECKING:
    from darse.cli.templates import Template

# A template that cannot be read ends with this status.
_BAD_TEMPLATE = 64


class Found:
    """An object: its document, and the name of its type in the API, which is empty when it has none."""

    def __init__(self, document: Any, type_name: str) -> None:
        self.document = document
        self.type_name = type_name


def inspect(references: Iterable[str], source: str, get: Callable[[str], Found]) -> int:
    """Print the objects; go on after errors. Raises CliError with all of them at the end."""
    template = _template(source)
    lines: list[str] = []
    documents: list[Any] = []
    errors: list[str] = []
    for reference in references:
        try:
            found = get(reference)
            if template is None:
                documents.append(found.document)
            else:
                lines.append(_rendered(template, found))
        except CliError as error:
            errors.append(str(error))
    if template is not None:
        sys.stdout.write("".join(f"{line}\n" for line in lines) or "\n")
    elif source == "json":
        sys.stdout.write(compact(documents) + "\n")
    else:
        sys.stdout.write(indented(documents) + "\n")
    if errors:
        raise CliError("\n".join(errors))
    return 0


def _template(source: str) -> Template | None:
    if source in ("", "json"):
        return None
    from darse.cli.templates import Template, TemplateError

    try:
        return Template(source)
    except TemplateError as error:
        raise CliError(f"template parsing error: {error}", _BAD_TEMPLATE) from error


def _rendered(template: Template, found: Found) -> str:
    from darse.cli.templates import TemplateError

    if found.type_name:
        try:
            return template.of_type(found.document, found.type_name)
        except TemplateError:
            pass  # perhaps it fits the JSON itself
    try:
        return template.of_json(found.document)
    except TemplateError as error:
        raise CliError(f"template parsing error: {error}") from error


def compact(document: Any) -> str:
    """JSON on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def indented(document: Any) -> str:
    """JSON as people read it."""
    return json.dumps(document, ensure_ascii=False, indent=4)
