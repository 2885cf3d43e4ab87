"""What is asked of an export, beside the tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from darse.build.dockerfile.convert.image import ImageDocument
from darse.build.errors import BuildError
from darse.build.solver.operation_executor import Snapshot
from darse.core.errors import InvalidParameter
from darse.image_spec import platforms
from darse.images.layers.compression import Compression

_ANNOTATION = re.compile(r"(?P<kind>[a-z-]+)(?:\[(?P<platform>[^\]]*)\])?\Z")
_KINDS = frozenset({"manifest", "index", "manifest-descriptor"})
_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})
# Attributes of BuildKit's exporters that are always so here, or that its clients read themselves.
_PASSED_OVER = frozenset({"name", "push", "dest", "tar", "store", "unpack", "oci-mediatypes", "dangling-name-prefix"})


class Annotation(msgspec.Struct, frozen=True):
    """One annotation: on which document, and for which platform; none is all of them."""

    name: str
    value: str
    kind: str = "manifest"
    platform: str = ""

    def is_for(self, kind: str, platform: str = "") -> bool:
        """Whether a document of a kind, for a platform, has it."""
        return self.kind == kind and self.platform in ("", platform)


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How an image is made of trees."""

    names: Sequence[str] = ()
    epoch: int | None = None
    """Seconds since the epoch: the time of everything that the build makes."""
    rewrite_timestamps: bool = False
    """Times in the build's own layers that are later than `epoch` become `epoch`."""
    squash: bool = False
    """One layer in the place of all that the build has made."""
    compression: Compression | None = None
    """The form of the layers in the manifest, whose archives are kept; without it they are not compressed here."""
    force_compression: bool = False
    """Layers of base images, too."""
    annotations: tuple[Annotation, ...] = ()

    def with_attributes(self, attributes: Mapping[str, str]) -> ExportOptions:
        """With the attributes of an output, in BuildKit's words. Raises BuildError."""
        known = {
            "rewrite-timestamp",
            "compression",
            "compression-level",
            "force-compression",
            *(name for name in attributes if name.startswith("annotation")),
        }
        if unknown := sorted(attributes.keys() - known - _PASSED_OVER):
            raise BuildError(
                f"unsupported attribute {unknown[0]!r} of the output: it is one of {', '.join(sorted(known))}"
            )
        compression = self.compression
        if kind := attributes.get("compression", ""):
            compression = _compression(kind, attributes.get("compression-level", ""))
        elif "compression-level" in attributes:
            raise BuildError("compression-level needs a compression")
        return msgspec.structs.replace(
            self,
            rewrite_timestamps=_boolean(attributes, "rewrite-timestamp"),
            compression=compression,
            force_compression=_boolean(attributes, "force-compression"),
            annotations=(*self.annotations, *_annotations_of(attributes)),
        )


class BillOfMaterials(msgspec.Struct, frozen=True):
    """What software a tree has, as an attestation says it."""

    name: str
    """The file that it is in where trees are exported: `sbom.spdx.json`."""
    predicate_type: str
    predicate: msgspec.Raw


class PlatformResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the graph of one platform came to."""

    snapshot: Snapshot | None
    """None is an empty tree."""
    image: ImageDocument
    created: int | None = None
    """Seconds: the time of the image and of the lines of its history that have none; None is now."""
    inline_cache: Callable[[Sequence[str]], str] | None = None
    """Gives, of the image's diff IDs, the member of its configuration with the cache of its build."""
    provenance: Mapping[str, object] | None = None
    """The predicate of its provenance."""
    provenance_type: str = ""
    bills: Sequence[BillOfMaterials] = ()

    @property
    def predicates(self) -> list[tuple[str, str, object]]:
        """What is attested of it: the name of its file, its type, and it."""
        found: list[tuple[str, str, object]] = [(one.name, one.predicate_type, one.predicate) for one in self.bills]
        if self.provenance is not None:
            found.append(("provenance.json", self.provenance_type, self.provenance))
        return found


def parse_annotations(texts: Iterable[str]) -> tuple[Annotation, ...]:
    """Of `--annotation [KIND[PLATFORM],…:]NAME=VALUE`, as buildx reads it. Raises BuildError."""
    found: list[Annotation] = []
    for text in texts:
        name, equals, value = text.partition("=")
        kinds, colon, short = name.partition(":")
        if not equals or not name:
            raise BuildError(f"invalid annotation {text!r}, expected key=value")
        parsed = [_ANNOTATION.match(kind) for kind in kinds.split(",")] if colon else []
        if colon and all(parsed):
            found += [
                _annotation(short, value, one["kind"], one["platform"] or "") for one in parsed if one is not None
            ]
        else:
            found.append(Annotation(name, value))
    return tuple(found)


def _annotations_of(attributes: Mapping[str, str]) -> Iterable[Annotation]:
    """Of an output's attributes `annotation[-KIND][PLATFORM].NAME`."""
    for attribute, value in attributes.items():
        if not attribute.startswith("annotation"):
            continue
        kind, dot, name = attribute.removeprefix("annotation").partition(".")
        match = _ANNOTATION.match(kind.removeprefix("-") if kind.startswith("-") else f"manifest{kind}")
        if not dot or not name or match is None:
            raise BuildError(f"invalid attribute {attribute!r} of the output: must be annotation.NAME")
        yield _annotation(name, value, match["kind"], match["platform"] or "")


def _annotation(name: str, value: str, kind: str, platform: str) -> Annotation:
    if kind not in _KINDS:
        raise BuildError(f"unsupported annotation type {kind!r}: it is one of {', '.join(sorted(_KINDS))}")
    if not name:
        raise BuildError(f"an annotation of {kind} needs a name")
    try:
        return Annotation(name, value, kind, str(platforms.normalized(platforms.parse(platform))) if platform else "")
    except platforms.InvalidPlatform as error:
        raise BuildError(f"invalid platform of annotation {name}: {error}") from None


def _compression(kind: str, level: str) -> Compression:
    try:
        return Compression.parse(kind, level)
    except InvalidParameter as error:
        raise BuildError(str(error)) from None


def _boolean(attributes: Mapping[str, str], name: str) -> bool:
    text = attributes.get(name, "").lower()
    if text in _TRUE or (not text and name in attributes):
        return True
    if text and text not in _FALSE:
        raise BuildError(f"invalid value {text!r} of the output's {name}: must be true or false")
    return False
