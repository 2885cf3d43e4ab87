"""What a check finds in documents of images, what it repairs, and what others do meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from darse.core.events import EventLog
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor, encode_manifest
from darse.image_spec.media_types import OCI_CONFIG, OCI_MANIFEST
from darse.images import references
from darse.images.service import ImageService
from darse.images.writer import ImageDocuments
from darse.recovery.startup import Recovery
from darse.wire.images import CheckMessage

ROOTFS = {"type": "layers", "diff_ids": []}


class Made:
    """An image without layers; `indent` makes its manifest one that only its registry has written so."""

    def __init__(self, author: str, *, indent: bool = False) -> None:
        self.config = msgspec.json.encode({"author": author, "architecture": "amd64", "os": "linux", "rootfs": ROOTFS})
        manifest = encode_manifest(Descriptor.of(self.config, OCI_CONFIG), [], OCI_MANIFEST)
        self.manifest = msgspec.json.format(manifest) if indent else manifest
        self.documents = ImageDocuments.of_target(self.manifest, OCI_MANIFEST, config=self.config)
        self.contents = [self.config, self.manifest]


class Place:
    def __init__(self, directory: Path) -> None:
        self.state = State(directory / "state.sqlite", SCHEMAS)
        self.images = ImageService(directory, self.state, EventLog(self.state))
        self.images.open([], Recovery(directory, self.state))
        self.stores = self.images.stores

    async def keep(self, made: Made) -> None:
        async with self.stores.gc.lease(), self.stores.content.stored(made.contents):
            await self.record(made)

    async def record(self, made: Made) -> None:
        prepared = await self.stores.writer.prepare(made.documents)
        self.stores.writer.record(prepared, names=[references.parse("app:1")])

    async def check(self, *, repair: bool = False) -> list[CheckMessage]:
        """The findings, and what was looked at."""
        return [
            message
            async for message in self.images.fsck.check([], repair=repair)
            if message.finding or message.doing == "done"
        ]

    def path(self, content: bytes) -> Path:
        return self.stores.content.path(digest_of(content))

    def damage(self, content: bytes) -> None:
        path = self.path(content)
        path.chmod(0o600)
        path.write_bytes(content[:-1] + b"?")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    await made.images.close()
    made.state.close()


async def test_a_sound_store_has_no_findings(place: Place) -> None:
    await place.keep(Made("a"))
    (done,) = await place.check(repair=True)
    assert (done.images, done.documents, done.findings, done.problems) == (1, 2, 0, 0)


@pytest.mark.parametrize("missing", [False, True])
async def test_a_manifest_that_was_made_here_is_made_again(place: Place, missing: bool) -> None:
    made = Made("a")
    await place.keep(made)
    place.path(made.manifest).unlink() if missing else place.damage(made.manifest)
    found, done = await place.check()
    assert (found.subject, found.repaired, done.problems) == (f"document {digest_of(made.manifest)}", False, 1)
    found, done = await place.check(repair=True)
    assert (found.repaired, found.advice, done.findings, done.problems) == (True, "", 1, 0)
    assert place.path(made.manifest).read_bytes() == made.manifest
    assert (await place.check())[-1].findings == 0


@pytest.mark.parametrize("part", ["manifest", "config"])
async def test_what_cannot_be_derived_stays_and_is_said(place: Place, part: str) -> None:
    """A manifest as a registry has written it, or a config: nothing here makes it again."""
    made = Made("a", indent=True)
    await place.keep(made)
    content = made.manifest if part == "manifest" else made.config
    place.damage(content)
    found, done = await place.check(repair=True)
    assert (found.subject, found.finding) == (f"document {digest_of(content)}", "is damaged")
    assert (found.repaired, done.problems) == (False, 1)
    assert found.advice.startswith("remove the image (rmi -f ")
    assert place.path(content).exists()


async def test_a_row_that_is_not_what_its_config_says_is_derived_again(place: Place) -> None:
    made = Made("a")
    await place.keep(made)
    (image,) = place.stores.images
    wrong = msgspec.structs.replace(image, config=msgspec.structs.replace(image.config, author="b"))
    place.stores.images.replace(wrong)
    found, done = await place.check(repair=True)
    assert (found.subject, found.repaired, done.problems) == (f"image {image.id}", True, 0)
    assert [one.config.author for one in place.stores.images] == ["a"]


async def test_documents_that_nothing_needs_are_removed_by_a_repair_alone(place: Place) -> None:
    place.stores.content.put(b"{}", OCI_MANIFEST)
    for repair in (False, True):
        found, done = await place.check(repair=repair)
        assert (found.level, found.finding, found.repaired) == ("note", "nothing needs it", repair)
        assert done.problems == 0
        assert place.path(b"{}").exists() is not repair


async def test_what_an_operation_records_while_the_check_is_at_work_is_not_removed(place: Place) -> None:
    """A pull has written an image's documents when the check looks which are needed, and ends before it is there."""
    made = Made("a")
    pulling = place.stores.gc.lease()
    await pulling.__aenter__()
    writing = place.stores.content.stored(made.contents)
    await writing.__aenter__()
    findings = []
    async for message in place.images.fsck.check([], repair=True):
        if message.doing == "documents":
            await place.record(made)
            await writing.__aexit__(None, None, None)
            await pulling.__aexit__(None, None, None)
        findings += [message.finding] if message.finding else []
    assert findings == []
    assert all(place.path(content).read_bytes() == content for content in made.contents)
