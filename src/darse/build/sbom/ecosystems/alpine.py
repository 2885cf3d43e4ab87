"""Packages of Alpine: apk's database, paragraphs of `LETTER:value` lines (apk-tools, doc/apk-v2.5.scd)."""

from __future__ import annotations

from collections.abc import Iterator

from darse.build.sbom.files import TreeFiles
from darse.build.sbom.packages import Distribution, Package, short

# The second is where a merged /usr has it.
_PLACES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_LIMIT = 64 << 20


def find(files: TreeFiles, system: Distribution) -> Iterator[Package]:
    """Yield the packages that apk has installed in a tree."""
    for place in _PLACES:
        content = files.read(place, _LIMIT)
        if content is not None:
            yield from parse(content.decode("utf-8", "replace"), f"/{place}", system)
            return


def parse(text: str, place: str, system: Distribution) -> Iterator[Package]:
    """Yield the packages of a database."""
    fields: dict[str, str] = {}
    for line in [*text.split("\n"), ""]:
        if line:
            # Letters of a package come before those of its files, which repeat.
            letter, colon, value = line.partition(":")
            if colon:
                fields.setdefault(letter, value)
            continue
        name, version = short(fields.get("P")), short(fields.get("V"))
        if name and version:
            origin = short(fields.get("o"))
            yield Package(
                kind="apk",
                namespace=system.id or "alpine",
                name=name,
                version=version,
                place=place,
                qualifiers=(
                    ("arch", short(fields.get("A"))),
                    ("distro", system.qualifier),
                    ("upstream", origin if origin != name else ""),
                ),
                licence=short(fields.get("L")),
                author=short(fields.get("m")),
                homepage=short(fields.get("U")),
                summary=short(fields.get("T")),
            )
        fields = {}
