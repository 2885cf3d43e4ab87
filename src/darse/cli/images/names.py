"""Names of images in arguments (`darse.image_spec.references`), with the command's error.

Most commands check nothing: the engine has the grammar, and `in_docker_words` gives its refusal the form that docker's
client gives its own.
"""

from __future__ import annotations

import re

from darse.cli.errors import ApiError, CliError
from darse.image_spec.references import InvalidReference, Reference, parse_name


def checked(text: str) -> Reference:
    """Read a name that must be one. Raises CliError in docker's words."""
    try:
        return parse_name(text)
    except InvalidReference as error:
        raise CliError(str(error)) from None


def check_any(text: str) -> None:
    """Raise CliError for what can be neither the name nor the ID of an image."""
    if re.fullmatch("(sha256:)?[0-9a-f]{64}", text) is None:
        checked(text)


def in_docker_words(error: ApiError) -> CliError:
    """The refusal of a name as docker's client, which checks names itself, words it; other errors as they are."""
    bad = error.http_status == 400 and error.reason.startswith(("invalid reference format", "invalid repository name"))
    return CliError(error.reason) if bad else error
