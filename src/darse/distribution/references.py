"""Image references: `[registry/]name[:tag][@digest]`, as people write them and in full.

The grammar is that of github.com/distribution/reference. A familiar name such as `busybox` stands for
`docker.io/library/busybox:latest`; a first component counts as a registry when it has a dot, a colon or an upper-case
letter, or is `localhost`.
"""

from __future__ import annotations

import re

import msgspec

from darse.distribution.errors import InvalidReference
from darse.image_spec.digests import is_digest

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_ID = re.compile(r"[0-9a-f]{64}\Z")
_NAME_LIMIT = 255
DEFAULT_DOMAIN = "docker.io"
_OFFICIAL = "library/"


class Reference(msgspec.Struct, frozen=True):
    """A reference in full."""

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
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        return self.path.removeprefix(_OFFICIAL) if self.path.count("/") == 1 else self.path

    @property
    def familiar(self) -> str:
        """The whole reference as people write it."""
        text = self.familiar_name
        if self.tag:
            text += f":{self.tag}"
        if self.digest:
            text += f"@{self.digest}"
        return text

    def __str__(self) -> str:
        text = self.name
        if self.tag:
            text += f":{self.tag}"
        if self.digest:
            text += f"@{self.digest}"
        return text


def parse(text: str) -> Reference:
    """Read a reference; without tag and digest the tag is `latest`. Raises InvalidReference in docker's words."""
    reference = parse_name(text)
    if not reference.tag and not reference.digest:
        return Reference(reference.domain, reference.path, "latest")
    return reference


def parse_name(text: str) -> Reference:
    """Read a reference and add nothing to it. Raises InvalidReference."""
    if not text:
        raise InvalidReference("invalid reference format")
    if _ID.match(text):
        raise InvalidReference(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    first, slash, rest = text.partition("/")
    is_domain = bool(slash) and (
        any(character in first for character in ".:") or first == "localhost" or first.lower() != first
    )
    domain, remainder = (first, rest) if is_domain else (DEFAULT_DOMAIN, text)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder.partition("@")[0]:
        remainder = _OFFICIAL + remainder
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        name = remainder.partition("@")[0].rpartition(":")[0] or remainder
        if name.lower() != name:
            raise InvalidReference(f"invalid reference format: repository name ({name}) must be lowercase")
        raise InvalidReference("invalid reference format")
    path = match["name"].removeprefix(f"{domain}/")
    if len(path) > _NAME_LIMIT:
        raise InvalidReference(f"repository name must not be more than {_NAME_LIMIT} characters")
    digest = match["digest"] or ""
    if digest:
        _check_digest(digest)
    return Reference(domain, path, match["tag"] or "", digest)


def _check_digest(digest: str) -> None:
    """Raise InvalidReference, in go-digest's words, for what is no sha256 digest."""
    algorithm, _, encoded = digest.partition(":")
    if algorithm != "sha256":
        raise InvalidReference("unsupported digest algorithm")
    if len(encoded) != 64:
        raise InvalidReference("invalid checksum digest length")
    if not is_digest(digest):
        raise InvalidReference("invalid checksum digest format")
