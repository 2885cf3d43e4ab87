"""Platforms (image-index.md): how they are written, and which image runs where, as containerd's `platforms` decides.

Other systems' names are translated (`x86_64`, `aarch64`), `arm64` is `arm64/v8`, `arm` is `arm/v7`, and a machine runs
the older variants of its architecture, too. Platforms are compared in their normal form.
"""

from __future__ import annotations

import functools
import os

import msgspec

# Machine's or other systems' name -> architecture and variant; None leaves the variant as it is.
_ARCHITECTURES: dict[str, tuple[str, str | None]] = {
    "i386": ("386", ""),
    "i686": ("386", ""),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
# Go's systems and architectures, of which one word alone must be one.
_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows "
    "zos".split()
)
_KNOWN = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le ppc ppc64 "
    "ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm".split()
)
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_USUAL = {"arm": "v7", "arm64": "v8", "amd64": "v1"}


class InvalidPlatform(ValueError):
    """A text that names no platform; its text is containerd's."""


class Platform(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An operating system and a processor."""

    architecture: str = ""
    os: str = ""
    os_version: str = msgspec.field(name="os.version", default="")
    os_features: tuple[str, ...] = msgspec.field(name="os.features", default=())
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def parse(text: str) -> Platform:
    """Read `os[/architecture[/variant]]`, or an architecture alone. Raises InvalidPlatform.

    A variant that everybody means is left out, but not one that is written; see `normalized`.
    """
    parts = text.split("/")
    if "*" in text:
        raise InvalidPlatform(f'"{text}": wildcards not yet supported: invalid argument')
    for part in parts:
        if not part or set(part) - _CHARACTERS:
            raise InvalidPlatform(
                f'"{part}" is an invalid component of "{text}": platform specifier component must match '
                '"^[A-Za-z0-9_.-]+$": invalid argument'
            )
    if len(parts) > 3:
        raise InvalidPlatform(f'"{text}": cannot parse platform specifier: invalid argument')
    system = _system(parts[0])
    if len(parts) == 1:
        if system in _SYSTEMS:
            return Platform(host().architecture, system, variant=host().variant)
        architecture, variant = _architecture(text, "")
        if architecture not in _KNOWN:
            raise InvalidPlatform(f'"{text}": unknown operating system or architecture: invalid argument')
        system = "linux"
    else:
        architecture, variant = _architecture(parts[1], parts[2] if len(parts) == 3 else "")
    if len(parts) < 3 and architecture == "arm" and variant == "v7":
        variant = ""  # what is meant when nothing is said
    if len(parts) == 3 and architecture == "arm64" and not variant:
        variant = "v8"
    return Platform(architecture, system, variant=variant)


def normalized(platform: Platform) -> Platform:
    """A platform in its normal form, without features; Linux is the system where none is named."""
    architecture, variant = _architecture(platform.architecture, platform.variant)
    return Platform(architecture, _system(platform.os) or "linux", platform.os_version, (), variant)


def of_descriptor(given: Platform | None) -> Platform | None:
    """The platform of an index's entry; None when it says nothing, or `unknown` (an attestation)."""
    if given is None or given.architecture in ("", "unknown"):
        return None
    return normalized(given)


@functools.cache
def host() -> Platform:
    """This machine's platform."""
    return normalized(Platform(os.uname().machine, "linux"))


def distance(requested: Platform, found: Platform) -> int | None:
    """How far `found` is from what was `requested`, both in normal form: 0 is the same, None does not run there."""
    if (requested.os, requested.architecture) != (found.os, found.architecture):
        return None
    if requested.os_version and found.os_version and requested.os_version != found.os_version:
        return None
    asked, there = _level(requested), _level(found)
    if asked is None or there is None:
        return 0 if requested.variant == found.variant else None
    return asked - there if asked >= there else None


def _level(platform: Platform) -> int | None:
    variant = platform.variant or _USUAL.get(platform.architecture, "")
    number = variant.removeprefix("v").partition(".")[0]
    return int(number) if number.isdecimal() else 0 if not variant else None


def _system(text: str) -> str:
    lowered = text.lower()
    return "darwin" if lowered == "macos" else lowered


def _architecture(text: str, variant: str) -> tuple[str, str]:
    """Architecture and variant in normal form."""
    architecture, variant = text.lower(), variant.lower()
    if architecture in _ARCHITECTURES:
        architecture, implied = _ARCHITECTURES[architecture]
        variant = variant if implied is None else implied
    if variant.isdecimal():
        variant = f"v{variant}"
    if architecture == "arm" and not variant:
        variant = "v7"
    if architecture in ("amd64", "arm64") and variant == _USUAL[architecture]:
        variant = ""
    return architecture, variant
