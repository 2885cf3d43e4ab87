"""What clients of BuildKit look for beside a build's record: how it was asked for, what was answered, and blobs.

    logs          its progress, as those who followed it have seen it
    error         why it failed, with the places in the Dockerfile
    result        the manifest, or the index, that it came to
    attestation   the provenance of a platform's result
    trace         its steps as spans

Blobs are kept with the build, and go with it: what it came to may be gone from the image store long before.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import msgspec

from darse.core.documents import DocumentCodec
from darse.core.state import State
from darse.image_spec.digests import digest_of

# Bytes of one blob; what is larger is left out.
MOST_BYTES = 16 << 20


class BuildAttachment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A blob that belongs to a build."""

    kind: str
    digest: str
    size: int
    media_type: str
    annotations: dict[str, str] = {}
    platform: str = ""
    """Of which result it is, where there are several."""


class Attachments(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is kept so."""

    frontend: str = ""
    attributes: dict[str, str] = {}
    """The options of the front end."""
    response: dict[str, str] = {}
    """The answer to the client."""
    listed: tuple[BuildAttachment, ...] = ()


ATTACHMENTS_DOCUMENTS = DocumentCodec(Attachments)


def compress(document: bytes) -> bytes:
    """A document as a row has it: quickly, for it is read seldom."""
    return zlib.compress(document, 1)


def decompress(compressed: bytes) -> bytes:
    """The document of a row. Raises ValueError where it is damaged."""
    try:
        return zlib.decompress(compressed)
    except zlib.error as error:
        raise ValueError(str(error)) from None


class AttachmentCollector:
    """Collects those of a build that runs."""

    def __init__(self, frontend: str, attributes: Mapping[str, str]) -> None:
        self._frontend = frontend
        self._attributes = dict(attributes)
        self.response: dict[str, str] = {}
        self._listed: list[BuildAttachment] = []
        self.contents: dict[str, bytes] = {}
        """By digest, compressed."""

    def add(
        self,
        kind: str,
        content: bytes,
        media_type: str,
        *,
        annotations: Mapping[str, str] | None = None,
        platform: str = "",
    ) -> None:
        """Attach a blob. Of megabytes it takes a while: in a thread."""
        if len(content) > MOST_BYTES:
            return
        digest = digest_of(content)
        one = BuildAttachment(
            kind=kind,
            digest=digest,
            size=len(content),
            media_type=media_type,
            annotations=dict(annotations or {}),
            platform=platform,
        )
        self._listed.append(one)
        self.contents[digest] = compress(content)

    def attachments(self) -> Attachments:
        """What was collected."""
        return Attachments(
            frontend=self._frontend,
            attributes=self._attributes,
            response=self.response,
            listed=tuple(self._listed),
        )


class AttachmentStore:
    """Those of builds that have ended, in the engine's database; rows go with their build's."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(self, build: str, collected: AttachmentCollector) -> None:
        """Keep what belongs to a build that is recorded."""
        with self._state.transaction(durable=False) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO build_attachments VALUES (?, ?)",
                (build, compress(ATTACHMENTS_DOCUMENTS.encode(collected.attachments()))),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO build_blobs VALUES (?, ?, ?, ?)",
                [
                    (build, one.digest, one.size, collected.contents[one.digest])
                    for one in collected.attachments().listed
                ],
            )

    def sweep(self) -> None:
        """Remove those of builds that are forgotten."""
        with self._state.transaction(durable=False) as connection:
            for table in ("build_attachments", "build_blobs", "build_pins"):
                connection.execute(f"DELETE FROM {table} WHERE build NOT IN (SELECT id FROM build_history)")  # noqa: S608

    def of(self, build: str) -> Attachments:
        """Those of a build; none where nothing was kept, or nothing that can be read."""
        rows = self._state.rows("SELECT build, document FROM build_attachments WHERE build = ?", (build,))
        decoded = self._state.decoded("build_attachments", rows, _read)
        return next((found for _, found in decoded), Attachments())

    def sizes(self) -> dict[str, int]:
        """The sizes of all blobs, by digest."""
        return {str(digest): int(size) for digest, size in self._state.rows("SELECT digest, size FROM build_blobs")}

    def size(self, digest: str) -> int | None:
        """The size of a blob; None where there is none."""
        row = self._state.row("SELECT size FROM build_blobs WHERE digest = ?", (digest,))
        return int(row[0]) if row is not None else None

    def read(self, digest: str) -> bytes | None:
        """A blob."""
        row = self._state.row("SELECT content FROM build_blobs WHERE digest = ?", (digest,))
        return zlib.decompress(row[0]) if row is not None else None


def _read(compressed: bytes) -> Attachments:
    return ATTACHMENTS_DOCUMENTS.decode(decompress(compressed))
