"""BuildKit's documents of caches (`cache/remotecache/v1/doc.go` there): records of results, and the layers of these.

    {"layers": [{"blob": "sha256:…", "parent": -1}, {"blob": "sha256:…"}],
     "records": [{"digest": "sha256:…", "layers": [{"layer": 1}]}, {"digest": "sha256:…", "inputs": [[{"link": 0}]]}]}

A layer's parent is the layer below it by its position, -1 is none, and 0 is left out. In a registry the document is
beside the layers' descriptors, in an index or in a manifest; in an image it is a member of its configuration, and has
the records alone.

Here the digest of a record is a key of this engine's solver. A record with nothing but one link says that what has been
made in one way has the key that it links to. Keys of BuildKit's solver are others: its caches are read without a hit,
and so are ours there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from darse.build.errors import BuildError
from darse.build.exporter.image import INLINE_CACHE
from darse.image_spec.digests import is_digest
from darse.image_spec.manifests import Descriptor

CONFIG_TYPE = "application/vnd.buildkit.cacheconfig.v0"
UNCOMPRESSED = "containerd.io/uncompressed"
"""The annotation of a layer's descriptor that has its diff ID."""
DOCUMENT_LIMIT = 32 << 20
# More layers than any filesystem of an image may have below one another.
_DEEPEST = 500
_NONE = -1


class InvalidCache(BuildError):
    """A document of a cache contradicts itself."""


class CacheLayer(msgspec.Struct, frozen=True):
    """A layer by its blob and its diff ID; both are verified when it is fetched."""

    blob: Descriptor
    diff_id: str


class CacheDocument(msgspec.Struct, frozen=True):
    """What a cache has."""

    results: Mapping[str, tuple[CacheLayer, ...]]
    """By key: the layers of the tree, lowest first."""
    links: Mapping[str, str] = {}
    """Keys by how their inputs were made."""


class _Layer(msgspec.Struct, omit_defaults=True):
    blob: str = ""
    parent: int = 0


class _Result(msgspec.Struct):
    layer: int = 0


class _Chain(msgspec.Struct):
    layers: list[int] = []


class _Input(msgspec.Struct, omit_defaults=True):
    selector: str = ""
    link: int = 0


class _Record(msgspec.Struct, omit_defaults=True):
    layers: list[_Result] | None = None
    chains: list[_Chain] | None = None
    digest: str = ""
    inputs: list[list[_Input]] | None = None


class _Config(msgspec.Struct):
    layers: list[_Layer] | None = None
    records: list[_Record] | None = None


def read_config(content: bytes, listed: Iterable[Descriptor]) -> CacheDocument:
    """Read the document beside the descriptors that are listed with it. Raises InvalidCache.

    A record of a layer that is not listed, or says nothing of its content, is refused: it names what is not there.
    """
    config = _decoded(content, _Config)
    known = {one.digest: one for one in listed}
    layers: list[CacheLayer] = []
    for one in config.layers or ():
        descriptor = known.get(one.blob)
        diff_id = (descriptor.annotations or {}).get(UNCOMPRESSED, "") if descriptor is not None else ""
        if descriptor is None or not is_digest(diff_id):
            raise InvalidCache(f"the cache names a layer {one.blob[:80]!r} that is not listed with its content")
        layers.append(CacheLayer(msgspec.structs.replace(descriptor, annotations=None), diff_id))
    return _document(config.records or [], layers, [one.parent for one in config.layers or ()])


def read_inline(config: Mapping[str, Any], blobs: Sequence[Descriptor]) -> CacheDocument | None:
    """Read the records in an image's configuration; its layers are the image's. None without. Raises InvalidCache."""
    text = config.get(INLINE_CACHE)
    if not text:
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise InvalidCache("the cache in the image is no base64") from None
    diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
    if len(diff_ids) != len(blobs):
        raise InvalidCache("the image has other layers than its configuration lists")
    layers = [CacheLayer(blob, diff_id) for blob, diff_id in zip(blobs, diff_ids, strict=True)]
    return _document(_decoded(content, list[_Record]), layers, range(-1, len(layers) - 1))


def _decoded(content: bytes, type_: Any) -> Any:
    try:
        return msgspec.json.decode(content, type=type_)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidCache(f"invalid cache: {error}") from None


def _document(records: Sequence[_Record], layers: Sequence[CacheLayer], parents: Sequence[int]) -> CacheDocument:
    results: dict[str, tuple[CacheLayer, ...]] = {}
    links: dict[str, str] = {}
    for record in records:
        stacks = [_stack(one.layer, parents) for one in record.layers or ()]
        stacks += [tuple(one.layers) for one in record.chains or ()]
        if not is_digest(record.digest):
            continue
        if stacks:
            results[record.digest] = tuple(layers[_checked(number, layers)] for number in stacks[0])
        elif (
            record.inputs
            and len(record.inputs) == 1
            and len(record.inputs[0]) == 1
            and not record.inputs[0][0].selector
        ):
            target = records[_checked(record.inputs[0][0].link, records)].digest
            if is_digest(target):
                links[record.digest] = target
    return CacheDocument(results, links)


def _stack(top: int, parents: Sequence[int]) -> tuple[int, ...]:
    """The positions of a layer and of those below it, lowest first. Raises InvalidCache where they go in a circle."""
    found: list[int] = []
    while top != _NONE:
        found.append(_checked(top, parents))
        if len(found) > _DEEPEST:
            raise InvalidCache("the cache has layers that stand on each other in a circle, or too many")
        top = parents[top]
    return tuple(reversed(found))


def _checked(number: int, of: Sequence[object]) -> int:
    if not 0 <= number < len(of):
        raise InvalidCache(f"the cache names an entry {number} that it has not")
    return number


def write_config(document: CacheDocument) -> tuple[bytes, list[Descriptor]]:
    """The document, and the descriptors that go with it."""
    positions: dict[tuple[str, ...], int] = {}
    layers: list[_Layer] = []
    listed: dict[str, Descriptor] = {}
    tops: dict[str, int] = {}
    for key, stack in document.results.items():
        parent = _NONE
        for depth in range(len(stack)):
            place = tuple(one.diff_id for one in stack[: depth + 1])
            if place not in positions:
                positions[place] = len(layers)
                layers.append(_Layer(stack[depth].blob.digest, parent))
                listed[stack[depth].blob.digest] = msgspec.structs.replace(
                    stack[depth].blob, annotations={UNCOMPRESSED: stack[depth].diff_id}
                )
            parent = positions[place]
        tops[key] = parent
    records = _records(document, tops)
    return msgspec.json.encode({"layers": layers, "records": records}), list(listed.values())


def write_inline(document: CacheDocument, diff_ids: Sequence[str]) -> str:
    """The member of an image's configuration: of those results that are the image's lowest layers, one or more."""
    places = {tuple(diff_ids[: depth + 1]): depth for depth in range(len(diff_ids))}
    tops = {
        key: places[place]
        for key, stack in document.results.items()
        if (place := tuple(one.diff_id for one in stack)) in places
    }
    return base64.b64encode(msgspec.json.encode(_records(document, tops))).decode()


def _records(document: CacheDocument, tops: Mapping[str, int]) -> list[_Record]:
    keys = {key: number for number, key in enumerate(key for key in document.results if key in tops)}
    records = [_Record(layers=[_Result(tops[key])], digest=key) for key in keys]
    records += [
        _Record(digest=key, inputs=[[_Input(link=keys[target])]])
        for key, target in document.links.items()
        if target in keys and key not in keys
    ]
    return records
