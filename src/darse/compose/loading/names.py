"""The name of a project: `-p`, COMPOSE_PROJECT_NAME, `name:` of a file, or the directory's."""

from __future__ import annotations

import re

from darse.compose.errors import ComposeError
from darse.quoting import quote

_SIGNS = re.compile(r"[^a-z0-9_-]")


def normalized(name: str) -> str:
    """A name's letters in lower case, digits, `-` and `_`; it begins with a letter or a digit."""
    return _SIGNS.sub("", name.lower()).lstrip("_-")


def checked(name: str) -> str:
    """A name that was asked for. Raises ComposeError when it is none."""
    if normalized(name) != name:
        raise ComposeError(
            f"invalid project name {quote(name)}: must consist only of lowercase alphanumeric characters, hyphens, and "
            "underscores as well as start with a letter or number"
        )
    return name
