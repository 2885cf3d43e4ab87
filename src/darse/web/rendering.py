"""Templates: every value that is put into one is escaped, and a name that is not there is an error."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from darse.web.texts import LANGUAGES, Texts

_TEMPLATES = Path(__file__).with_name("templates")
_LONGEST = 4096


class Renderer:
    """The compiled templates."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "segment": segment,
            "when": when,
            "clipped": clipped,
            "milliseconds": milliseconds,
        }
        self._environment.globals["languages"] = {name: texts["language"] for name, texts in LANGUAGES.items()}

    def render(self, template: str, texts: Texts, values: Mapping[str, Any]) -> str:
        """The page of a template in a language."""
        return self._environment.get_template(template).render(
            t=texts.text, size=texts.size, number=texts.number, language=texts.language, **values
        )


def segment(text: str) -> str:
    """A name as one segment of a path."""
    return quote(text, safe="")


def when(moment: int | str) -> str:
    """A moment, in seconds or as the API writes it, as `time` elements have it: RFC 3339, UTC, to the second."""
    if isinstance(moment, int):
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return "" if moment.startswith("0001-01-01") or not moment else f"{moment[:19]}Z"


def clipped(text: str) -> str:
    """A text of a length that a page can show."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def milliseconds(nanoseconds: int) -> str:
    """A duration."""
    return f"{nanoseconds / 1e6:.2f} ms"
