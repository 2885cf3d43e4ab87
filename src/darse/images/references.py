"""References as the engine's callers write them: `darse.image_spec.references`, with the engine's error."""

from __future__ import annotations

from darse.core.errors import InvalidParameter
from darse.image_spec import references
from darse.image_spec.references import DEFAULT_DOMAIN, InvalidReference, Reference

__all__ = ["DEFAULT_DOMAIN", "Reference", "parse", "parse_name", "parse_tag", "refuse_algorithm"]

# What go-digest knows: `sha256:x` would be read as the beginning of a digest.
_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})


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


def parse_tag(text: str) -> Reference:
    """Read a name that an image is to get: without a tag it is `latest`. Raises InvalidParameter, also for a digest."""
    reference = parse_name(text)
    if reference.digest:
        raise InvalidParameter("refusing to create a tag with a digest reference")
    refuse_algorithm(reference)
    return parse(str(reference))


def refuse_algorithm(reference: Reference) -> None:
    """Raise InvalidParameter for a repository called as a digest algorithm is: its tags could not be found again."""
    if reference.familiar_name in _ALGORITHMS:
        raise InvalidParameter("refusing to create an ambiguous tag using digest algorithm as name")
