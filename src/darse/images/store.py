"""The image store: images, the targets that they are in, and their names; rows in the database, indexed in memory.

A name refers to a target (a manifest, or an index), and through it to the images of the platforms that are here. One of
them is the target's default: the one for this machine, or else the first. Every image is in a target.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from darse.core.errors import InvalidParameter, NotFound
from darse.core.ids import may_be_id_prefix
from darse.core.state import Schema, State
from darse.image_spec import platforms
from darse.image_spec.platforms import Platform
from darse.images import references
from darse.images.model import IMAGE_DOCUMENTS, TARGET_DOCUMENTS, Image, Target

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
        # Names referred to images; now they refer to targets, which are the images' manifests so far.
        """
        CREATE TABLE image_targets (digest TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID;
        INSERT OR IGNORE INTO image_targets SELECT json_extract(text, '$.manifest.digest'), CAST(json_object(
            'descriptor', json_extract(text, '$.manifest'),
            'variants', json_array(json_object('manifest', json_extract(text, '$.manifest'), 'image_id', id))
        ) AS BLOB) FROM (SELECT id, CAST(document AS TEXT) AS text FROM images);
        CREATE TABLE image_names_of_targets (
            reference TEXT PRIMARY KEY,
            target TEXT NOT NULL REFERENCES image_targets (digest),
            tagged_ns INTEGER NOT NULL
        ) WITHOUT ROWID;
        INSERT INTO image_names_of_targets
            SELECT reference, json_extract(CAST(document AS TEXT), '$.manifest.digest'), tagged_ns
            FROM image_names JOIN images ON images.id = image_names.image_id;
        DROP TABLE image_names;
        ALTER TABLE image_names_of_targets RENAME TO image_names;
        CREATE TABLE layer_blobs (
            diff_id TEXT NOT NULL,
            digest TEXT NOT NULL,
            repository TEXT NOT NULL,
            size INTEGER NOT NULL,
            media_type TEXT NOT NULL,
            PRIMARY KEY (diff_id, digest, repository)
        ) WITHOUT ROWID;
        CREATE INDEX layer_blobs_digest ON layer_blobs (digest)
        """,
    ),
)


class FoundImage(msgspec.Struct, frozen=True):
    """What a text refers to: an image, the target that it was found in, and the name when the text is one."""

    image: Image
    target: Target
    reference: references.Reference | None = None


class ImageStore:
    """Images by id, targets by digest, names by reference in full (`docker.io/library/busybox:latest`)."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._images: dict[str, Image] = {}
        self._targets: dict[str, Target] = {}
        self._defaults: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._tagged: dict[str, int] = {}
        self._read()

    def _read(self) -> None:
        rows, decoded = self._state.rows, self._state.decoded
        self._images = dict(decoded("images", rows("SELECT id, document FROM images"), IMAGE_DOCUMENTS.decode))
        self._targets, self._defaults, self._names, self._tagged = {}, {}, {}, {}
        targets = rows("SELECT digest, document FROM image_targets")
        for _, target in decoded("image_targets", targets, TARGET_DOCUMENTS.decode):
            self._remember_what_is_here(target)
        for reference, digest, tagged_ns in rows("SELECT reference, target, tagged_ns FROM image_names"):
            if digest in self._targets:  # else its record, or that of its image, is damaged
                self._names[reference] = digest
                self._tagged[reference] = tagged_ns

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Make the changes of the block one transaction; when that fails, memory is as before, too."""
        with self._state.transaction():
            self._state.on_rollback(self._read)
            yield

    async def flush(self) -> None:
        """See State.flush."""
        await self._state.flush()

    def __iter__(self) -> Iterator[Image]:
        return iter(list(self._images.values()))

    def __len__(self) -> int:
        return len(self._images)

    # Looking

    def by_id(self, image_id: str) -> Image | None:
        """Return the image of a full id."""
        return self._images.get(image_id)

    def targets(self) -> list[Target]:
        """Every target."""
        return list(self._targets.values())

    def target(self, digest: str) -> Target | None:
        """Return the target of a full digest."""
        return self._targets.get(digest)

    def default(self, target: Target) -> Image:
        """The image of this machine's platform, or else the first that is here."""
        return self._images[self._defaults[target.digest]]

    def images_of(self, target: Target) -> list[Image]:
        """The images of all platforms that are here, in the index's order."""
        ids = dict.fromkeys(variant.image_id for variant in target.variants if variant.image_id)
        return [self._images[image_id] for image_id in ids]

    def targets_of(self, image_id: str, *, any_platform: bool = False) -> list[Target]:
        """The targets whose default is the image, or (`any_platform`) that have it at all."""
        return [
            target
            for target in self._targets.values()
            if self._defaults[target.digest] == image_id
            or (any_platform and any(variant.image_id == image_id for variant in target.variants))
        ]

    def find(self, text: str, platform: Platform | None = None) -> FoundImage:
        """Return the image that `text` means: a name, an image's id, a target's or manifest's digest, or a prefix.

        Raises NotFound in docker's words, also when it is not there for `platform`; and InvalidParameter for what can
        be no reference.
        """
        found = self._find(text)
        if platform is None:
            return found
        image = self.variant(found.target if found.reference or text == found.target.digest else None, platform)
        if image is None and platforms.distance(platform, found.image.platform) == 0:
            image = found.image
        if image is None:
            raise NotFound(
                f"image with reference {text} was found but does not provide the specified platform ({platform})"
            )
        return FoundImage(image, found.target, found.reference)

    def variant(self, target: Target | None, platform: Platform) -> Image | None:
        """The image of a target that suits a platform best; None when there is none."""
        best: tuple[int, Image] | None = None
        for image in self.images_of(target) if target else ():
            distance = platforms.distance(platform, image.platform)
            if distance is not None and (best is None or distance < best[0]):
                best = (distance, image)
        return best[1] if best else None

    def is_made_from(self, image: Image, base: Image) -> bool:
        """Whether an image is `base`, or was made from it: here, or elsewhere with layers of its own on top.

        Equal layers do not show it: two images may be made from a third, and differ in their configuration.
        """
        while image.id != base.id:
            parent = self._images.get(image.parent)
            if parent is None:
                depth = len(base.chain_ids)
                return 0 < depth < len(image.chain_ids) and image.chain_ids[:depth] == base.chain_ids
            image = parent
        return True

    def _find(self, text: str) -> FoundImage:
        digest = text if text.startswith("sha256:") else f"sha256:{text}"
        prefix = text.removeprefix("sha256:")
        if (found := self._by_digest(digest)) is not None:
            return found
        if text.startswith("sha256:") and not may_be_id_prefix(prefix):
            raise InvalidParameter("invalid reference format")
        if not text.startswith("sha256:") and not (may_be_id_prefix(text) and len(text) == 64):
            reference = references.parse(text)
            target = self._by_name(reference)
            if target is not None:
                return FoundImage(self.default(target), target, reference)
        if may_be_id_prefix(prefix):
            matches = self._by_prefix(f"sha256:{prefix}")
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise InvalidParameter(f"ambiguous image ID prefix: {text}")
        shown = text if text.startswith("sha256:") or "@" in text else _with_tag(text)
        raise NotFound(f"No such image: {shown}")

    def _by_digest(self, digest: str) -> FoundImage | None:
        image = self._images.get(digest)
        if image is not None:
            targets = self.targets_of(image.id) or self.targets_of(image.id, any_platform=True)
            return FoundImage(image, max(targets, key=self._rank))
        target = self._targets.get(digest)
        if target is not None:
            return FoundImage(self.default(target), target)
        for target in self._targets.values():
            for variant in target.variants:
                if variant.manifest.digest == digest and variant.image_id:
                    return FoundImage(self._images[variant.image_id], target)
        return None

    def _by_prefix(self, prefix: str) -> list[FoundImage]:
        """Ids come first: a prefix is ambiguous among them, or among what else has digests."""
        digests = [id_ for id_ in self._images if id_.startswith(prefix)]
        if not digests:
            digests = [
                digest
                for target in self._targets.values()
                for digest in {target.digest, *(one.manifest.digest for one in target.variants if one.image_id)}
                if digest.startswith(prefix)
            ]
        return [found for digest in dict.fromkeys(digests) if (found := self._by_digest(digest)) is not None]

    def _rank(self, target: Target) -> tuple[bool, bool]:
        return target.digest in self._names.values(), target.is_index

    def _by_name(self, reference: references.Reference) -> Target | None:
        if not reference.digest:
            digest = self._names.get(str(reference))
            return self._targets[digest] if digest else None
        for name, digest in self._names.items():
            target = self._targets[digest]
            if reference.digest in (digest, self._defaults[digest]) and references.parse(name).name == reference.name:
                return target
        return None

    def tags_of(self, text: str) -> list[str]:
        """The tagged names of a repository, in full and sorted; none where `text` is no bare name of one."""
        try:
            repository = references.parse_name(text)
        except InvalidParameter:
            return []
        if repository.tag or repository.digest:
            return []
        return sorted(name for name in self._names if name.startswith(f"{repository.name}:") and "@" not in name)

    # Names

    def named(self, reference: references.Reference) -> Target | None:
        """What `reference` refers to now."""
        digest = self._names.get(str(reference))
        return self._targets[digest] if digest else None

    def names(self, image_id: str) -> list[str]:
        """The references, in full and sorted, of the targets whose default is the image."""
        return sorted(name for name, digest in self._names.items() if self._defaults[digest] == image_id)

    def names_of(self, target: Target) -> list[str]:
        """The sorted references of a target."""
        return sorted(name for name, digest in self._names.items() if digest == target.digest)

    def names_with(self, image_id: str) -> list[str]:
        """The references of the targets that have the image, for whichever platform."""
        digests = {target.digest for target in self.targets_of(image_id, any_platform=True)}
        return sorted(name for name, digest in self._names.items() if digest in digests)

    def all_names(self) -> dict[str, list[str]]:
        """The sorted references of every image that is a default, by id."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._names):
            found.setdefault(self._defaults[self._names[name]], []).append(name)
        return found

    def digest_named(self, name: str) -> str:
        """The digest of the target that a name in full refers to."""
        return self._names[name]

    def tagged_ns(self, image_id: str) -> int:
        """When the image last got a name."""
        return max((self._tagged[name] for name in self.names_with(image_id)), default=0)

    # Changing

    def add(self, image: Image, row: bytes) -> Image:
        """Insert an image, or keep the one that is here, which is returned; put its target in the same transaction.

        row: its document, by IMAGE_DOCUMENTS.
        """
        if image.id not in self._images:
            with self._state.transaction() as connection:
                connection.execute("INSERT INTO images VALUES (?, ?)", (image.id, row))
            self._images[image.id] = image
        return self._images[image.id]

    def replace(self, image: Image) -> None:
        """Write the row of an image again."""
        with self._state.transaction() as connection:
            connection.execute("UPDATE images SET document = ? WHERE id = ?", (IMAGE_DOCUMENTS.encode(image), image.id))
        self._images[image.id] = image

    def put(self, target: Target) -> Target:
        """Insert a target, or add its new images to the one that is here; return the target as it is now."""
        present = self._targets.get(target.digest)
        if present is not None:
            known = {one.manifest.digest: one.image_id for one in present.variants}
            variants = tuple(
                msgspec.structs.replace(one, image_id=one.image_id or known.get(one.manifest.digest, ""))
                for one in target.variants
            )
            target = Target(target.descriptor, variants)
            if target == present:
                return present
        self._save(target)
        return target

    def without(self, target: Target, image_ids: Iterable[str]) -> Target:
        """Remove images from a target that keeps others; return the target as it is now."""
        gone = set(image_ids)
        variants = tuple(
            msgspec.structs.replace(one, image_id="" if one.image_id in gone else one.image_id)
            for one in target.variants
        )
        changed = Target(target.descriptor, variants)
        self._save(changed)
        return changed

    def tag(self, reference: references.Reference, target: Target, *, anew: bool = True) -> None:
        """Make `reference` refer to the target, whatever it referred to before.

        anew: the time of the name becomes now, also when the image had the name already.
        """
        former = self._names.get(str(reference))
        same = former is not None and self._defaults[former] == self._defaults[target.digest]
        now = self._tagged[str(reference)] if same and not anew else time.time_ns()
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT INTO image_names VALUES (?, ?, ?) ON CONFLICT (reference) DO UPDATE "
                "SET target = excluded.target, tagged_ns = excluded.tagged_ns",
                (str(reference), target.digest, now),
            )
        self._names[str(reference)] = target.digest
        self._tagged[str(reference)] = now

    def untag(self, reference: str) -> None:
        """Remove a name."""
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM image_names WHERE reference = ?", (reference,))
        del self._names[reference]
        del self._tagged[reference]

    def delete_targets(self, targets: Iterable[Target]) -> list[Image]:
        """Delete targets without names, and the images that are in no other target; return the images."""
        gone = {target.digest for target in targets}
        kept = {
            one.image_id for target in self._targets.values() if target.digest not in gone for one in target.variants
        }
        images = [image for image in self._images.values() if image.id not in kept]
        with self._state.transaction() as connection:
            connection.executemany("DELETE FROM image_targets WHERE digest = ?", [(digest,) for digest in gone])
            connection.executemany("DELETE FROM images WHERE id = ?", [(image.id,) for image in images])
        for digest in gone:
            del self._targets[digest], self._defaults[digest]
        for image in images:
            del self._images[image.id]
        return images

    def _save(self, target: Target) -> None:
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT INTO image_targets VALUES (?, ?) "
                "ON CONFLICT (digest) DO UPDATE SET document = excluded.document",
                (target.digest, TARGET_DOCUMENTS.encode(target)),
            )
        self._remember(target)

    def _remember_what_is_here(self, target: Target) -> None:
        """Keep a target as its row has it, without the images whose own rows are damaged."""
        variants = tuple(
            one if one.image_id in self._images else msgspec.structs.replace(one, image_id="")
            for one in target.variants
        )
        if any(one.image_id for one in variants):
            self._remember(Target(target.descriptor, variants))

    @property
    def is_damaged(self) -> bool:
        """Whether a row cannot be read: then it is unknown what it needs."""
        return bool(self._state.damaged_in("images") or self._state.damaged_in("image_targets"))

    def _remember(self, target: Target) -> None:
        self._targets[target.digest] = target
        best = self.variant(target, platforms.host()) or self.images_of(target)[0]
        self._defaults[target.digest] = best.id


def _with_tag(text: str) -> str:
    return text if ":" in text.rpartition("/")[2] else f"{text}:latest"
