"""os-release(5): which distribution a tree is."""

from __future__ import annotations

import shlex

from darse.build.sbom.files import TreeFiles
from darse.build.sbom.packages import Distribution, short

_PLACES = ("etc/os-release", "usr/lib/os-release")
_LIMIT = 64 * 1024


def find(files: TreeFiles) -> Distribution:
    """The distribution of a tree; an empty one where none is named."""
    for place in _PLACES:
        content = files.read(place, _LIMIT)
        if content is not None:
            return parse(content.decode("utf-8", "replace"))
    return Distribution()


def parse(text: str) -> Distribution:
    """Of the file's text; lines that no shell would read are passed over."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        try:
            values[name] = " ".join(shlex.split(value))
        except ValueError:
            continue
    return Distribution(
        short(values.get("ID", "")), short(values.get("VERSION_ID", "")), short(values.get("PRETTY_NAME", ""))
    )
