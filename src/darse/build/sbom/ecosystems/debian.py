"""Packages of Debian and what is made of it: /var/lib/dpkg/status (deb822(5)).

Images without dpkg have a file for each package in /var/lib/dpkg/status.d instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from darse.build.sbom.ecosystems.paragraphs import paragraphs
from darse.build.sbom.files import TreeFiles
from darse.build.sbom.packages import Distribution, Package, short

_STATUS = "var/lib/dpkg/status"
_PARTS = "var/lib/dpkg/status.d"
_LIMIT, _PART_LIMIT = 64 << 20, 1 << 20


def find(files: TreeFiles, system: Distribution) -> Iterator[Package]:
    """Yield the packages that dpkg has installed in a tree."""
    content = files.read(_STATUS, _LIMIT)
    if content is not None:
        yield from parse(content.decode("utf-8", "replace"), f"/{_STATUS}", system)
    for name in files.names(_PARTS):
        part = files.read(f"{_PARTS}/{name}", _PART_LIMIT) if not name.endswith(".md5sums") else None
        if part is not None:
            yield from parse(part.decode("utf-8", "replace"), f"/{_PARTS}/{name}", system)


def parse(text: str, place: str, system: Distribution) -> Iterator[Package]:
    """Yield the installed ones: not those of which only the configuration is left, or that are half unpacked."""
    for fields in paragraphs(text):
        # `want error state`; the parts of status.d have none.
        state = fields.get("status", "install ok installed").split()
        name, version = short(fields.get("package")), short(fields.get("version"))
        if not name or not version or state[-1:] != ["installed"]:
            continue
        yield Package(
            kind="deb",
            namespace=system.id or "debian",
            name=name,
            version=version,
            place=place,
            qualifiers=(
                ("arch", short(fields.get("architecture"))),
                ("distro", system.qualifier),
                ("upstream", _upstream(short(fields.get("source")), name)),
            ),
            author=short(fields.get("maintainer")),
            homepage=short(fields.get("homepage")),
            summary=short(fields.get("description")),
        )


def _upstream(source: str, name: str) -> str:
    """The source package, `NAME` or `NAME (VERSION)`, where it has another name or version."""
    found, _, version = source.partition(" ")
    version = version.strip("() ")
    if not found or (found == name and not version):
        return ""
    return f"{found}@{version}" if version else found
