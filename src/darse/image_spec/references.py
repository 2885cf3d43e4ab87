"""Image references: `[registry/]name[:tag][@digest]`, as people write them and in full.

The grammar is that of github.com/distribution/reference, errors are in its words. A familiar name such as `busybox`
stands for `docker.io/library/busybox:latest`; a first component counts as a registry when it has a dot, a colon or an
upper-case letter, or is `localhost`.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE = (
    rf"(?P<name>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
)
# What most names are: the whole grammar takes a millisecond to compile, which a command need not spend.
_PLAIN = r"([a-z0-9]+([.-][a-z0-9]+)*(:[0-9]+)?/)?[a-z0-9]+([._/-][a-z0-9]+)*(:\w[\w.-]{0,127})?"
_ID = r"[0-9a-f]{64}"
_NAME_LIMIT = 255
DEFAULT_DOMAIN = "docker.io"
_OFFICIAL = "library/"


class InvalidReference(ValueError):
    """A text that is no reference."""


class Reference(NamedTuple):
    """A reference, its registry and path in full."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and path."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it."""
        return familiar(self.name)

    @property
    def familiar(self) -> str:
        """The whole reference as people write it."""
        return self.familiar_name + self._suffix()

    @property
    def is_bare(self) -> bool:
        """Whether it has neither tag nor digest."""
        return not (self.tag or self.digest)

    def tagged(self) -> Reference:
        """Itself, with the tag `latest` where it is bare."""
        return self._replace(tag="latest") if self.is_bare else self

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def parse(text: str) -> Reference:
    """Read a reference; without tag and digest the tag is `latest`. Raises InvalidReference."""
    return parse_name(text).tagged()


def parse_name(text: str) -> Reference:
    """Read a reference and add nothing to it. Raises InvalidReference."""
    if re.fullmatch(_ID, text):
        raise InvalidReference(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    found = split(text)
    if re.fullmatch(_PLAIN, text, re.ASCII) is None:
        _check(text, found)
    if len(found.path) > _NAME_LIMIT:
        raise InvalidReference(f"repository name must not be more than {_NAME_LIMIT} characters")
    return found


def split(text: str) -> Reference:
    """Take a name apart, whatever it is. The first component is a registry when it looks like a host's name."""
    name, _, digest = text.partition("@")
    head, tag = split_tag(name)
    first, slash, rest = head.partition("/")
    is_domain = bool(slash) and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    domain, path = (first, rest) if is_domain else (DEFAULT_DOMAIN, head)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    return Reference(domain, path, tag, digest)


def split_tag(text: str) -> tuple[str, str]:
    """A name and its tag, which may be empty; a registry's port is no tag."""
    head, colon, tag = text.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (text, "")


def familiar(name: str) -> str:
    """A registry and path without what Docker Hub's names need not have."""
    path = name.removeprefix(f"{DEFAULT_DOMAIN}/")
    if path == name:
        return name
    return path.removeprefix(_OFFICIAL) if path.count("/") == 1 else path


def _check(text: str, found: Reference) -> None:
    """Raise InvalidReference for what the grammar does not have."""
    suffix = text[len(split_tag(text.partition("@")[0])[0]) :]
    if _grammar().fullmatch(found.name + suffix) is None:
        name = (found.path + suffix).partition("@")[0].rpartition(":")[0] or found.path + suffix
        if name.lower() != name:
            raise InvalidReference(f"invalid reference format: repository name ({name}) must be lowercase")
        raise InvalidReference("invalid reference format")
    if found.digest:
        _check_digest(found.digest)


@functools.cache
def _grammar() -> re.Pattern[str]:
    return re.compile(_REFERENCE, re.ASCII)


def _check_digest(digest: str) -> None:
    """Raise InvalidReference, in go-digest's words, for what is no sha256 digest."""
    algorithm, _, encoded = digest.partition(":")
    if algorithm != "sha256":
        raise InvalidReference("unsupported digest algorithm")
    if len(encoded) != 64:
        raise InvalidReference("invalid checksum digest length")
    if re.fullmatch("sha256:[0-9a-f]{64}", digest) is None:
        raise InvalidReference("invalid checksum digest format")
