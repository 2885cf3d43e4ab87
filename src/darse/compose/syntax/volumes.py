"""`[SOURCE:]TARGET[:OPTIONS]` of a service's volumes, made its long form."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_PROPAGATIONS = frozenset({"rprivate", "private", "rshared", "shared", "rslave", "slave"})
_SELINUX = frozenset({"z", "Z"})
# A part of it: a colon in `${...}` ends none, nor does that of a Windows drive.
_PART = re.compile(r"(?:\$\{[^}]*\}|[^:])*")
_DRIVE = re.compile(r"[A-Za-z]\Z")


class InvalidVolume(ValueError):
    """A text that is no volume of a service."""


def parse(text: str) -> dict[str, Any]:
    """The long form. Raises InvalidVolume."""
    if not text:
        raise InvalidVolume("invalid empty volume spec")
    if len(text) <= 2:
        return {"type": "volume", "target": clean(text)}
    parts = _parts(text)
    if not all(parts):
        raise InvalidVolume(f"invalid spec: {text}: empty section between colons")
    if len(parts) > 3:
        raise InvalidVolume(f"invalid spec: {text}: too many colons")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    volume: dict[str, Any] = {"type": "bind" if _is_path(source) else "volume"}
    if source:
        volume["source"] = source
    volume["target"] = clean(target)
    options = parts[2].split(",") if len(parts) == 3 else []
    _add_options(volume, options)
    if volume["type"] == "bind":
        volume.setdefault("bind", {})["create_host_path"] = True
    else:
        volume.setdefault("volume", {})
    return volume


def _add_options(volume: dict[str, Any], options: list[str]) -> None:
    for option in options:
        if option in ("ro", "rw"):
            volume.pop("read_only", None)
            if option == "ro":
                volume["read_only"] = True
        elif option == "nocopy":
            volume["volume"] = {"nocopy": True}
        elif option in _PROPAGATIONS:
            volume.setdefault("bind", {})["propagation"] = option
        elif option in _SELINUX:
            volume.setdefault("bind", {})["selinux"] = option


def _parts(text: str) -> list[str]:
    parts: list[str] = []
    position = 0
    while True:
        match = _PART.match(text, position)
        assert match is not None
        end = match.end()
        if end < len(text) and _DRIVE.match(match[0]):
            following = _PART.match(text, end + 1)
            assert following is not None
            end = following.end()
        parts.append(text[position:end])
        if end >= len(text):
            return parts
        position = end + 1


def _is_path(source: str) -> bool:
    return source.startswith((".", "/", "~")) or source.startswith("\\\\") or source[1:2] == ":"


def clean(target: str) -> str:
    """A path without `.`, `..` and double slashes, as Go's path.Clean has it."""
    if not target:
        return target
    cleaned = posixpath.normpath(target)
    return cleaned[1:] if cleaned.startswith("//") else cleaned
