"""Platforms in the words of OCI (image-index.md): which of an image's variants is meant, and which suits this machine.

Architectures are compared as containerd's `platforms` does: other systems' names are translated (`x86_64`, `aarch64`),
`arm64` is `arm64/v8`, `arm` is `arm/v7`, and a machine runs the older variants of its architecture, too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from darse.core.errors import InvalidParameter

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
# Go's, of which one word alone must be one.
_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows "
    "zos".split()
)
_KNOWN = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le ppc ppc64 "
    "ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm".split()
)
_WORD = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*", re.ASCII)
_USUAL = {"arm": "v7", "arm64": "v8", "amd64": "v1"}


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    """An operating system and a processor; normalized when it comes from a function of this module."""

    architecture: str = ""
    os: str = ""
    os_version: str = msgspec.field(name="os.version", default="")
    os_features: tuple[str, ...] = msgspec.field(name="os.features", default=())
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normalized(os: str, architecture: str, variant: str = "", version: str = "") -> Platform:
    """A platform in the usual words; what is empty is this machine's or usual one."""
    architecture, implied = _ARCHITECTURES.get(architecture.lower(), (architecture.lower(), ""))
    variant = (variant or implied).lower()
    if variant.isdecimal():
        variant = f"v{variant}"
    if variant == _USUAL.get(architecture) and architecture != "arm":
        variant = ""  # what everybody means
    elif architecture == "arm" and not variant:
        variant = "v7"
    return Platform(architecture, os.lower(), version, (), variant)


def parse(text: str) -> Platform:
    """Read `os[/architecture[/variant]]`, or an architecture alone. Raises InvalidParameter."""
    parts = text.split("/")
    if len(parts) > 3 or not all(_WORD.fullmatch(part) for part in parts):
        raise InvalidParameter(
            f'"{text}" is an invalid component of a platform specification: must be os[/architecture[/variant]]'
        )
    if len(parts) > 1:
        return normalized(*parts)
    architecture = parts[0].lower()
    if architecture in _SYSTEMS:
        return normalized(architecture, host().architecture, host().variant)
    if architecture not in _KNOWN and architecture not in _ARCHITECTURES:
        raise InvalidParameter(f'"{text}": unknown operating system or architecture: invalid argument')
    return normalized("linux", architecture)


def parse_json(text: str) -> Platform:
    """Read an API parameter: a JSON-encoded OCI platform. Raises InvalidParameter."""
    if not text.lstrip().startswith("{"):
        return parse(text)
    try:
        given = msgspec.json.decode(text, type=Platform)
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"failed to parse platform: {error}") from error
    if not given.os and not given.architecture:
        raise InvalidParameter("failed to parse platform: both OS and Architecture must be provided")
    return normalized(given.os or "linux", given.architecture or host().architecture, given.variant, given.os_version)


def of_document(given: Mapping[str, Any] | None) -> Platform | None:
    """A descriptor's platform; None when it says nothing, or `unknown` (an attestation)."""
    if not given or not given.get("architecture") or given.get("architecture") == "unknown":
        return None
    words = [str(given.get(key) or "") for key in ("os", "architecture", "variant", "os.version")]
    return normalized(words[0] or "linux", *words[1:])


@functools.cache
def host() -> Platform:
    """This machine's platform."""
    import platform  # noqa: PLC0415 - slow to import, and rarely asked

    return normalized("linux", platform.machine())


def distance(wanted: Platform, found: Platform) -> int | None:
    """How far `found` is from what was `wanted`: 0 is the same, None does not run there."""
    if (wanted.os, wanted.architecture) != (found.os, found.architecture):
        return None
    if wanted.os_version and found.os_version and wanted.os_version != found.os_version:
        return None
    asked, there = _level(wanted), _level(found)
    if asked is None or there is None:
        return 0 if wanted.variant == found.variant else None
    return asked - there if asked >= there else None


def _level(platform: Platform) -> int | None:
    variant = platform.variant or _USUAL.get(platform.architecture, "")
    number = variant.removeprefix("v").partition(".")[0]
    return int(number) if number.isdecimal() else 0 if not variant else None
