"""Compressed digests: the blobs that layers are known as, by diff ID, and the repositories that have them.

A push asks whether the registry has one of them before it compresses anything. The blobs of a layer are removed from
the table with the last image that has the layer.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from darse.core.state import State
from darse.image_spec.manifests import Descriptor


class CompressedDigest(msgspec.Struct, frozen=True):
    """A blob of a layer, and the repository (`docker.io/library/nginx`; "" for none) that has it."""

    descriptor: Descriptor
    repository: str


class CompressedDigests:
    """The table `layer_blobs`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def known(self, diff_id: str) -> list[CompressedDigest]:
        """The blobs of a layer."""
        rows = self._state.rows(
            "SELECT media_type, digest, size, repository FROM layer_blobs WHERE diff_id = ? "
            "ORDER BY digest, repository",
            (diff_id,),
        )
        return [CompressedDigest(Descriptor(*form), repository) for *form, repository in rows]

    def diff_id(self, digest: str) -> str | None:
        """The diff ID of the layer that a blob is of, where that is known."""
        row = self._state.row("SELECT diff_id FROM layer_blobs WHERE digest = ?", (digest,))
        return str(row[0]) if row else None

    def digests(self) -> set[str]:
        """The digests of all blobs of all layers."""
        return {str(digest) for (digest,) in self._state.rows("SELECT DISTINCT digest FROM layer_blobs")}

    def add(self, diff_id: str, blob: Descriptor, repository: str) -> None:
        """Note that `repository` has the layer as this blob."""
        with self._state.transaction(durable=False) as connection:
            connection.execute(
                "INSERT OR IGNORE INTO layer_blobs VALUES (?, ?, ?, ?, ?)",
                (diff_id, blob.digest, repository, blob.size, blob.media_type),
            )

    def retain(self, diff_ids: Iterable[str]) -> None:
        """Remove the blobs of all layers except these."""
        requested = set(diff_ids)
        gone = [
            (diff_id,)
            for (diff_id,) in self._state.rows("SELECT DISTINCT diff_id FROM layer_blobs")
            if diff_id not in requested
        ]
        if gone:
            with self._state.transaction() as connection:
                connection.executemany("DELETE FROM layer_blobs WHERE diff_id = ?", gone)
