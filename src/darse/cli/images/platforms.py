"""Platforms: `os[/arch[/variant]]` as people write it, in the form that the API wants.

Spellings are normalised as containerd's platforms package does, so that `linux/x86_64` finds what is called
`linux/amd64`.
"""

from __future__ import annotations

import os

from darse.cli.errors import CliError

# For the help of flags.
FORM = 'Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'
_ARCHITECTURES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_KNOWN_ARCHITECTURES = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le mips64p32 "
    "mips64p32le ppc riscv riscv64 s390 s390x sparc sparc64 wasm".split()
)
_KNOWN_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows "
    "zos".split()
)
_COMPONENT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def parse(text: str) -> dict[str, str]:
    """The platform that `text` names, as the API's JSON has it. Raises CliError."""
    parts = text.split("/")
    if "*" in text:
        raise CliError(f'"{text}": wildcards not yet supported: invalid argument')
    for part in parts:
        if not part or set(part) - _COMPONENT:
            raise CliError(
                f'"{part}" is an invalid component of "{text}": platform specifier component must match '
                '"^[A-Za-z0-9_.-]+$": invalid argument'
            )
    if len(parts) > 3:
        raise CliError(f'"{text}": cannot parse platform specifier: invalid argument')
    if len(parts) == 1:
        return _of_one_word(text)
    system = _system(parts[0])
    architecture, variant = _architecture(parts[1], parts[2] if len(parts) == 3 else "")
    if len(parts) == 2 and architecture == "arm" and variant == "v7":
        variant = ""  # what is meant when nothing is said
    if len(parts) == 3 and architecture == "arm64" and not variant:
        variant = "v8"
    return _platform(system, architecture, variant)


def _of_one_word(text: str) -> dict[str, str]:
    system = _system(text)
    if system in _KNOWN_SYSTEMS:
        return _platform(system, *_architecture(os.uname().machine, ""))
    architecture, variant = _architecture(text, "")
    if architecture == "arm" and variant == "v7":
        variant = ""
    if architecture in _KNOWN_ARCHITECTURES:
        return _platform("linux", architecture, variant)
    raise CliError(f'"{text}": unknown operating system or architecture: invalid argument')


def given(text: str) -> dict[str, str] | None:
    """The platform of a flag that may be empty. Raises CliError in the words of most commands."""
    try:
        return parse(text) if text else None
    except CliError as error:
        raise CliError(f"invalid platform: {error}") from error


def _platform(system: str, architecture: str, variant: str) -> dict[str, str]:
    platform = {"architecture": architecture, "os": system}
    return {**platform, "variant": variant} if variant else platform


def _system(text: str) -> str:
    lowered = text.lower()
    return "darwin" if lowered == "macos" else lowered


def _architecture(text: str, variant: str) -> tuple[str, str]:
    architecture, variant = text.lower(), variant.lower()
    if architecture in _ARCHITECTURES:
        architecture, implied = _ARCHITECTURES[architecture]
        variant = variant if implied is None else implied
    if architecture == "amd64" and variant == "v1":
        variant = ""
    if architecture == "arm64" and variant in ("8", "v8"):
        variant = ""
    if architecture == "arm":
        variant = {"": "v7", "7": "v7", "5": "v5", "6": "v6", "8": "v8"}.get(variant, variant)
    return architecture, variant


def shown(platform: dict[str, str]) -> str:
    """`linux/arm/v7`."""
    parts = [platform.get("os") or "unknown", platform.get("architecture", ""), platform.get("variant", "")]
    return "/".join(part for part in parts if part)
