"""References as the engine's callers write them: `darse.distribution.references`, with the engine's error."""

from __future__ import annotations

from darse.distribution import references
from darse.distribution.errors import InvalidReference
from darse.distribution.references import DEFAULT_DOMAIN, Reference, is_digest
from darse.engine.errors import InvalidParameter

__all__ = ["DEFAULT_DOMAIN", "Reference", "is_digest", "parse", "parse_name"]


def parse(text: str) -> Reference:
    """Read a reference; without tag and digest the tag is `latest`. Raises InvalidParameter in docker's words."""
    try:
        return references.parse(text)
    except InvalidReference as error:
        raise InvalidParameter(str(error)) from None


def parse_name(text: str) -> Reference:
    """Read a reference and add nothing to it. Raises InvalidParameter."""
    try:
        return references.parse_name(text)
    except InvalidReference as error:
        raise InvalidParameter(str(error)) from None
