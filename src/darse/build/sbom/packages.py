"""Packages as scans find them, and their names across ecosystems: https://github.com/package-url/purl-spec."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

# Of one field: who writes a tree may put anything into it.
_MOST_CHARACTERS = 1000


class Distribution(msgspec.Struct, frozen=True):
    """The system that a tree is (os-release(5)); empty where nothing says so."""

    id: str = ""
    version: str = ""
    name: str = ""

    @property
    def qualifier(self) -> str:
        """As package URLs have it."""
        return f"{self.id}-{self.version}" if self.id and self.version else self.id


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One installed package."""

    kind: str
    """The type of its package URL."""
    name: str
    version: str
    place: str
    """The file that says that it is there."""
    namespace: str = ""
    qualifiers: tuple[tuple[str, str], ...] = ()
    licence: str = ""
    """As the package says it, not checked."""
    author: str = ""
    homepage: str = ""
    summary: str = ""

    @property
    def url(self) -> str:
        """Its package URL."""
        parts = [quote(part, safe=":") for part in self.namespace.split("/") if part]
        parts.append(quote(self.name, safe=":"))
        version = f"@{quote(self.version, safe=':')}" if self.version else ""
        given = sorted((name, value) for name, value in self.qualifiers if value)
        query = "&".join(f"{name}={quote(value, safe=':')}" for name, value in given)
        return f"pkg:{self.kind}/{'/'.join(parts)}{version}{'?' if query else ''}{query}"


def short(text: object) -> str:
    """A field of a foreign file: one line that can be shown; empty for what is no text."""
    if not isinstance(text, str):
        return ""
    line = text[: 4 * _MOST_CHARACTERS].strip().partition("\n")[0]
    # Neither control characters nor halves of pairs: JSON and terminals get this.
    return "".join(one for one in line if one.isprintable())[:_MOST_CHARACTERS]
