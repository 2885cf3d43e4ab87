"""Packages of Node: `package.json` of what is directly in a `node_modules`, where npm, yarn and pnpm put it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from darse.build.sbom.packages import Package, short

FILE = "package.json"
LIMIT = 1 << 20


def is_package(parents: list[str], name: str) -> bool:
    """Whether a file is that of an installed package. parents: the directories above it, the nearest last."""
    if name != FILE or len(parents) < 2:
        return False
    return parents[-2] == "node_modules" or (
        len(parents) > 2 and parents[-3] == "node_modules" and parents[-2].startswith("@")
    )


def parse(content: bytes, place: str) -> Iterator[Package]:
    """Yield the package, where the file names one with a version."""
    try:
        document = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return
    full, version = short(document.get("name")), short(document.get("version"))
    if not full or not version:
        return
    scope, _, name = full.rpartition("/")
    yield Package(
        kind="npm",
        namespace=scope,
        name=name,
        version=version,
        place=place,
        licence=_licence(document),
        author=_person(document.get("author")),
        homepage=short(document.get("homepage")),
        summary=short(document.get("description")),
    )


def _licence(document: dict[str, Any]) -> str:
    """`"MIT"`, or in old packages `{"type": "MIT"}`, or a list of those."""
    given = document.get("license") or document.get("licenses")
    if isinstance(given, list):
        given = given[0] if given else ""
    return short(given.get("type") if isinstance(given, dict) else given)


def _person(given: Any) -> str:
    if isinstance(given, dict):
        name, mail = short(given.get("name")), short(given.get("email"))
        return f"{name} <{mail}>" if mail else name
    return short(given)
