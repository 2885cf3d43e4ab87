"""Images, targets and names made again of the documents in the content store; part of `darse.engine.rebuild`.

What no document says (names, parents, times) is in `records/images.json`. Without it images come back without names.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from darse.core.documents import DocumentCodec, NewerDocument
from darse.core.errors import InvalidParameter, SystemFault
from darse.core.state import UPGRADE
from darse.image_spec.digests import chain_ids, digest_of
from darse.image_spec.manifests import Descriptor, Index, Manifest
from darse.image_spec.media_types import INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST
from darse.images.content.manifests import decode, target_with
from darse.images.model import IMAGE_DOCUMENTS, TARGET_DOCUMENTS, Image, Layer, Target, Variant, parse_config
from darse.linux.fs.files import read_regular
from darse.recovery.records import ImageRecord, ImagesFile, file_of

T = TypeVar("T")
# No document of an image is larger; layers' archives that are kept lie beside them.
_LARGEST = 8 << 20


def written_by_newer(key: str, error: NewerDocument) -> SystemFault:
    """Why a database is not rebuilt that has records which only a newer engine reads: they would be lost."""
    return SystemFault(f"record {key} of the database {error}; nothing was changed: {UPGRADE}")


class ImagesRebuild:
    """Brings the tables of images up to what lies in the data root."""

    def __init__(
        self, data_root: Path, connection: sqlite3.Connection, cannot: Callable[[str], None], *, is_truth: bool
    ) -> None:
        """`cannot` gets what cannot be restored; with `is_truth` the rows that can be read are right."""
        self._root = data_root
        self._connection = connection
        self._cannot = cannot
        self._is_truth = is_truth
        self._documents: dict[str, bytes] = {}
        self._layers: dict[str, int] = dict(connection.execute("SELECT chain_id, size FROM layers").fetchall())
        self._rows: dict[str, Image] = {}
        self._made: dict[str, ImageRecord] = {}

    def run(self) -> None:
        """Do it all."""
        images = self._decoded("SELECT id, document FROM images", IMAGE_DOCUMENTS)
        targets = self._decoded("SELECT digest, document FROM image_targets", TARGET_DOCUMENTS)
        broken = self._count("images") - len(images) + self._count("image_targets") - len(targets)
        if self._is_truth and not broken and (self._count("images") or not self._blobs()):
            return
        self._rows = images
        self._documents = self._read_documents()
        copy = self._copy()
        names = self._connection.execute("SELECT reference, target, tagged_ns FROM image_names").fetchall()
        if copy is not None:
            self._made = {one.id: one for one in copy.images}
            required = {one.digest: one for one in self._targets_of(copy)} | (targets if self._is_truth else {})
            names = names if self._is_truth else list(copy.names)
        else:
            required = {**targets, **self._found(set(targets))}
        self._write(required.values(), names, copy)

    def _write(self, required: Iterable[Target], names: list[tuple[str, str, int]], copy: ImagesFile | None) -> None:
        execute = self._connection.execute
        for table in ("image_names", "image_targets", "images"):
            execute(f"DELETE FROM {table}")  # noqa: S608 - constants
        kept = set()
        for target in required:
            variants = tuple(
                msgspec.structs.replace(one, image_id=self._put_image(one)) if one.image_id else one
                for one in target.variants
            )
            if not any(one.image_id for one in variants):
                self._cannot(f"image {target.digest}: a document or a layer of it is missing or damaged")
                continue
            made = Target(target.descriptor, variants)
            execute("INSERT INTO image_targets VALUES (?, ?)", (target.digest, TARGET_DOCUMENTS.encode(made)))
            kept.add(target.digest)
        for reference, digest, tagged_ns in names:
            if digest in kept:
                execute("INSERT INTO image_names VALUES (?, ?, ?)", (reference, digest, tagged_ns))
            else:
                self._cannot(f"the name {reference} of image {digest}")
        for row in copy.blobs if copy is not None else ():
            execute(
                "INSERT OR IGNORE INTO layer_blobs (diff_id, digest, repository, size, media_type) "
                "VALUES (?, ?, ?, ?, ?)",
                row,
            )

    def _put_image(self, variant: Variant) -> str:
        """Have the row of a variant's image; its id, or "" when it cannot be had."""
        image = self._rows.get(variant.image_id) or self._image(variant.image_id, variant.manifest)
        if image is None:
            return ""
        self._connection.execute(
            "INSERT OR IGNORE INTO images VALUES (?, ?)", (image.id, IMAGE_DOCUMENTS.encode(image))
        )
        return image.id

    def _image(self, image_id: str, manifest: Descriptor) -> Image | None:
        """An image made of its config and manifest; None when one of them, or a layer, is missing."""
        config, document = self._documents.get(image_id), self._documents.get(manifest.digest)
        if config is None or document is None:
            return None
        try:
            parsed = parse_config(config)
            blobs = decode(document, Manifest).layers
        except InvalidParameter:
            return None
        diff_ids = parsed.rootfs.diff_ids
        chain = chain_ids(diff_ids)
        if len(blobs) != len(diff_ids) or not all(one in self._layers for one in chain):
            return None
        row = self._made.get(image_id)
        return Image(
            id=image_id,
            parent=row.parent if row else "",
            manifest=manifest,
            config_size=len(config),
            config=parsed,
            layers=tuple(map(Layer, blobs, diff_ids, chain)),
            size=sum(self._layers[one] for one in chain),
            stored_ns=row.stored_ns if row else 0,
        )

    # Sources

    def _decoded(self, query: str, documents: DocumentCodec[T]) -> dict[str, T]:
        """The documents of rows of (key, document) that can be read."""
        found = {}
        for key, document in self._connection.execute(query).fetchall():
            try:
                found[str(key)] = documents.decode(document)
            except NewerDocument as error:
                raise written_by_newer(str(key), error) from error
            except (msgspec.MsgspecError, TypeError, ValueError):
                continue
        return found

    def _count(self, table: str) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - constants

    def _blobs(self) -> list[Path]:
        try:
            return list((self._root / "images" / "blobs" / "sha256").iterdir())
        except OSError:
            return []

    def _read_documents(self) -> dict[str, bytes]:
        """Every small blob that is what its name says, by digest."""
        found = {}
        for path in self._blobs():
            try:
                content = read_regular(path) if path.stat().st_size <= _LARGEST else b""
            except OSError:
                continue
            if content and digest_of(content) == f"sha256:{path.name}":
                found[f"sha256:{path.name}"] = content
        return found

    def _copy(self) -> ImagesFile | None:
        try:
            return msgspec.json.decode(read_regular(file_of(self._root, "images", "")), type=ImagesFile)
        except (OSError, msgspec.MsgspecError):
            return None

    @staticmethod
    def _targets_of(copy: ImagesFile) -> Iterable[Target]:
        for raw in copy.targets:
            try:
                yield TARGET_DOCUMENTS.decode(raw)
            except (msgspec.MsgspecError, NewerDocument):
                continue

    def _found(self, known: set[str]) -> dict[str, Target]:
        """Targets of documents that nothing names: indexes first, then manifests that are in none."""
        found: dict[str, Target] = {}
        inside: set[str] = set()
        for media_types in (INDEXES, MANIFESTS):
            for digest, content in self._documents.items():
                if digest in known or digest in inside:
                    continue
                media_type = _kind_of(content)
                if media_type not in media_types:
                    continue
                for target in self._target(content, media_type):
                    found[digest] = target
                    inside.update(one.manifest.digest for one in target.variants)
        return found

    def _target(self, content: bytes, media_type: str) -> Iterable[Target]:
        """The target that a document is, with every image that can be made of it; none where none can."""
        merged: dict[str, str] = {}
        read = None
        for config in self._configs_of(content, media_type):
            try:
                read, digest = target_with(content, media_type, self._documents, config)
            except InvalidParameter:
                continue
            manifest = next(one.manifest for one in read.variants if one.manifest.digest == digest)
            if self._image(config, manifest) is not None:
                merged[digest] = config
        if read is not None and merged:
            yield Target(
                read.descriptor,
                tuple(
                    msgspec.structs.replace(one, image_id=merged.get(one.manifest.digest, "")) for one in read.variants
                ),
            )

    def _configs_of(self, content: bytes, media_type: str) -> list[str]:
        if media_type in MANIFESTS:
            return [decode(content, Manifest).config.digest]
        configs = []
        for one in decode(content, Index).manifests:
            inner = self._documents.get(one.digest)
            if inner is not None and (kind := _kind_of(inner)):
                configs += self._configs_of(inner, kind) if kind in MANIFESTS else []
        return configs


def _kind_of(content: bytes) -> str:
    """The media type of a manifest or an index; "" of anything else."""
    try:
        document = msgspec.json.decode(content)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    named = document.get("mediaType", "")
    if "manifests" in document:
        kind = named if named in INDEXES else OCI_INDEX
        type_: type[Index] | type[Manifest] = Index
    elif "config" in document and "layers" in document:
        kind, type_ = named if named in MANIFESTS else OCI_MANIFEST, Manifest
    else:
        return ""
    try:
        decode(content, type_)
    except InvalidParameter:
        return ""
    return kind
