"""Where caches are: `type=registry,ref=NAME`, `type=inline`, `type=local,src=DIRECTORY`, or a name alone."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from darse.build.errors import BuildError
from darse.core.errors import InvalidParameter
from darse.images import references
from darse.images.references import Reference

_KINDS = frozenset({"inline", "local", "registry"})
_KNOWN = {
    "inline": frozenset({"mode"}),
    "local": frozenset({"src", "dest", "mode", "ignore-error", "context"}),
    "registry": frozenset({"ref", "mode", "ignore-error", "image-manifest", "oci-mediatypes", "compression"}),
}


class CacheOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    kind: str
    """`registry`, `inline` or `local`."""
    reference: Reference | None = None
    """Of a registry."""
    context: str = ""
    """Of a client's directory: the name of the part in which it comes; for BuildKit's clients its path."""
    digest: str = ""
    """Of a client's directory: which of the caches in it, for who reads blobs there by their digests."""
    complete: bool = False
    """The mode `max`: results of all steps, and not only those whose layers are the image's."""
    may_fail: bool = False
    """Whether a build succeeds whose cache could not be exported."""

    def __str__(self) -> str:
        return self.reference.familiar if self.reference is not None else self.kind


def parse_cache_options(text: str) -> CacheOptions:
    """Read one; a name alone is one of a registry. Raises BuildError."""
    if "=" not in text.partition(",")[0]:
        return CacheOptions(kind="registry", reference=_reference(text))
    fields = dict(_field(part, text) for part in text.split(","))
    kind = fields.pop("type", "")
    if kind not in _KINDS:
        raise BuildError(f"unsupported cache type {kind!r}: it is one of {', '.join(sorted(_KINDS))}")
    if unknown := sorted(fields.keys() - _KNOWN[kind]):
        raise BuildError(f"invalid cache {text}: unexpected key {unknown[0]!r}")
    mode = fields.get("mode", "min")
    if mode not in ("min", "max"):
        raise BuildError(f"invalid cache mode {mode!r}: it is min or max")
    return CacheOptions(
        kind=kind,
        reference=_reference(fields.get("ref", "")) if kind == "registry" else None,
        context=fields.get("context", ""),
        complete=mode == "max",
        may_fail=_flag(fields, "ignore-error"),
    )


def _field(part: str, text: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals:
        raise BuildError(f"invalid cache {text}: invalid field {part!r} must be a key=value pair")
    return name.strip().lower(), value


def _flag(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "false").lower() in ("1", "true")


def _reference(text: str) -> Reference:
    if not text:
        raise BuildError("a cache of the type registry needs its ref")
    try:
        found = references.parse(text)
    except InvalidParameter as error:
        raise BuildError(f"invalid cache reference {text!r}: {error}") from error
    return found
