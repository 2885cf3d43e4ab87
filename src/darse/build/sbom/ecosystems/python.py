"""Distributions of Python: METADATA of `.dist-info`, PKG-INFO of `.egg-info` (packaging.python.org, core metadata)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from darse.build.sbom.ecosystems.paragraphs import paragraphs
from darse.build.sbom.packages import Package, short

#: Names of the files, and the ends of the names of directories that they are in.
FILES = {"METADATA": ".dist-info", "PKG-INFO": ".egg-info"}
LIMIT = 4 << 20
_SEPARATORS = re.compile(r"[-_.]+")


def is_metadata(parents: list[str], name: str) -> bool:
    """Whether a file says that a distribution is installed. parents: the directories above it, the nearest last."""
    end = FILES.get(name)
    return end is not None and bool(parents) and parents[-1].endswith(end)


def parse(content: bytes, place: str) -> Iterator[Package]:
    """Yield the distribution. Only the head counts: the text after it is its description."""
    head = content.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    fields = next(paragraphs(head), {})
    name, version = short(fields.get("name")), short(fields.get("version"))
    if name and version:
        yield Package(
            kind="pypi",
            name=_SEPARATORS.sub("-", name).lower(),
            version=version,
            place=place,
            licence=short(fields.get("license-expression") or fields.get("license")),
            author=short(fields.get("author-email") or fields.get("author")),
            homepage=short(fields.get("home-page")),
            summary=short(fields.get("summary")),
        )
