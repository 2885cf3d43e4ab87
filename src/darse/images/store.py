"""The images and their names: rows in the database, indexed in memory by id and by reference."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from darse.engine.errors import InvalidParameter, NotFound
from darse.engine.ids import may_be_id_prefix
from darse.engine.state import Schema, State
from darse.images import references
from darse.images.model import Image

SCHEMA = Schema(
    "images",
    (
        """
        CREATE TABLE images (id TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE image_names (
            reference TEXT PRIMARY KEY,
            image_id TEXT NOT NULL REFERENCES images (id),
            tagged_ns INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
    ),
)


class ImageStore:
    """Images by id, names by reference in full (`docker.io/library/busybox:latest`)."""

    def __init__(self, state: State) -> None:
        self._state = state
        decode = msgspec.json.Decoder(Image).decode
        self._images = {id_: decode(document) for id_, document in state.rows("SELECT id, document FROM images")}
        self._names: dict[str, str] = {}
        self._tagged: dict[str, int] = {}
        for reference, image_id, tagged_ns in state.rows("SELECT reference, image_id, tagged_ns FROM image_names"):
            self._names[reference] = image_id
            self._tagged[image_id] = max(tagged_ns, self._tagged.get(image_id, 0))

    def __iter__(self) -> Iterator[Image]:
        return iter(list(self._images.values()))

    def __len__(self) -> int:
        return len(self._images)

    def by_id(self, image_id: str) -> Image | None:
        """Return the image of a full id."""
        return self._images.get(image_id)

    def find(self, text: str) -> tuple[Image, references.Reference | None]:
        """Return the image that `text` means and, where `text` is a name, that name.

        Raises NotFound in docker's words, and InvalidParameter for what can be no reference.
        """
        image = self._images.get(text) or self._images.get(f"sha256:{text}")
        if image is not None:
            return image, None
        prefix = text.removeprefix("sha256:")
        if text.startswith("sha256:") and not may_be_id_prefix(prefix):
            raise InvalidParameter("invalid reference format")
        named = None
        if not text.startswith("sha256:") and not (may_be_id_prefix(text) and len(text) == 64):
            named = self._by_name(references.parse(text))
            if named is not None:
                return named
        if may_be_id_prefix(prefix):
            matches = [id_ for id_ in self._images if id_.startswith(f"sha256:{prefix}")]
            if len(matches) == 1:
                return self._images[matches[0]], None
            if matches:
                raise InvalidParameter(f"ambiguous image ID prefix: {text}")
        shown = text if text.startswith("sha256:") or "@" in text else _with_tag(text)
        raise NotFound(f"No such image: {shown}")

    def _by_name(self, reference: references.Reference) -> tuple[Image, references.Reference] | None:
        if reference.digest:
            for image in self._images.values():
                if reference.digest in (image.manifest.digest, image.id) and any(
                    references.parse(name).name == reference.name for name in self.names(image.id)
                ):
                    return image, reference
            return None
        image_id = self._names.get(str(reference))
        return (self._images[image_id], reference) if image_id else None

    def named(self, reference: references.Reference) -> str | None:
        """The id of the image that `reference` names now."""
        return self._names.get(str(reference))

    def names(self, image_id: str) -> list[str]:
        """The references of an image, in full, sorted."""
        return sorted(name for name, id_ in self._names.items() if id_ == image_id)

    def all_names(self) -> dict[str, list[str]]:
        """The sorted references of every image, by id."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._names):
            found.setdefault(self._names[name], []).append(name)
        return found

    def tagged_ns(self, image_id: str) -> int:
        """When the image last got a name."""
        return self._tagged.get(image_id, 0)

    def add(self, image: Image) -> None:
        """Insert an image, or leave the one that is there."""
        if image.id in self._images:
            return
        with self._state.transaction() as connection:
            connection.execute("INSERT INTO images VALUES (?, ?)", (image.id, msgspec.json.encode(image)))
        self._images[image.id] = image

    def tag(self, reference: references.Reference, image_id: str) -> None:
        """Make `reference` name the image, whatever it named before."""
        now = time.time_ns()
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT INTO image_names VALUES (?, ?, ?) ON CONFLICT (reference) DO UPDATE "
                "SET image_id = excluded.image_id, tagged_ns = excluded.tagged_ns",
                (str(reference), image_id, now),
            )
        self._names[str(reference)] = image_id
        self._tagged[image_id] = now

    def untag(self, reference: str) -> None:
        """Remove a name."""
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM image_names WHERE reference = ?", (reference,))
        del self._names[reference]

    def delete(self, image_id: str) -> None:
        """Remove an image that has no name any more."""
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
        del self._images[image_id]
        self._tagged.pop(image_id, None)


def _with_tag(text: str) -> str:
    return text if ":" in text.rpartition("/")[2] else f"{text}:latest"
