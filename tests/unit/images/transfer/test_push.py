"""What of a name is pushed, in which form, and what the name refers to afterwards; registry and layers in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from darse.core.errors import InvalidParameter, NoSpace, NotFound, SystemFault
from darse.core.events import EventLog
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.image_spec import platforms
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor, encode_manifest
from darse.image_spec.media_types import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from darse.image_spec.platforms import Platform
from darse.images.content.attestations import REFERENCE_DIGEST, attestation_manifest
from darse.images.references import parse, parse_name
from darse.images.service import ImageService
from darse.images.transfer.push import Pusher
from darse.images.writer import ImageDocuments
from darse.recovery.startup import Recovery
from darse.testing.registry import Answer, FakeRegistry

HOST, OTHER = platforms.host().architecture, "s390x"
PLACE = "registry.test/team/app"
ROOM = "team/app"


class Made:
    """The documents of an image of one layer, whose archive the store has kept."""

    def __init__(self, text: str, architecture: str = HOST) -> None:
        self.layer = f"layer of {text}".encode()
        self.blob = Descriptor.of(self.layer, OCI_LAYER)
        self.diff_id = digest_of(self.layer)
        rootfs = {"type": "layers", "diff_ids": [self.diff_id]}
        self.config = msgspec.json.encode({"architecture": architecture, "os": "linux", "rootfs": rootfs})
        self.manifest = encode_manifest(Descriptor.of(self.config, OCI_CONFIG), [self.blob], OCI_MANIFEST)
        self.id = digest_of(self.config)
        platform = Platform(architecture, "linux")
        self.descriptor = msgspec.structs.replace(Descriptor.of(self.manifest, OCI_MANIFEST), platform=platform)


def index_of(*descriptors: Descriptor) -> bytes:
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors})


class Place:
    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = State(directory / "state.sqlite", SCHEMAS)
        self.events = EventLog(self.state)
        self.images = ImageService(directory, self.state, self.events)
        self.images.open([], Recovery(directory, self.state))
        self.stores = self.images.stores
        self.registry = FakeRegistry()
        registries: Any = self.registry
        self.pusher = Pusher(self.stores, registries, self.events, lambda: 3)
        monkeypatch.setattr(self.stores.layers, "exists", lambda _: True)
        monkeypatch.setattr(self.stores.layers, "size", lambda _: 1)
        monkeypatch.setattr(self.stores.layers, "archive_size", lambda _: 1)

    async def keep(self, *made: Made, tag: str = "1", index: bytes | None = None, more: Sequence[bytes] = ()) -> None:
        """Have images by one name: that of an index, or of the only one."""
        contents = [content for one in made for content in (one.config, one.manifest, one.layer)]
        async with self.stores.content.stored([*contents, *more, *([index] if index is not None else [])]):
            for one in made:
                documents = ImageDocuments.of_target(
                    one.manifest if index is None else index,
                    OCI_MANIFEST if index is None else OCI_INDEX,
                    config=one.config,
                    manifests={digest_of(document): document for document in (*(m.manifest for m in made), *more[:1])},
                )
                self.stores.writer.record(await self.stores.writer.prepare(documents), names=[parse(f"{PLACE}:{tag}")])

    async def push(self, name: str = f"{PLACE}:1", platform: Platform | None = None) -> list[str]:
        """The digests that are pushed."""
        return [one.target.digest for one in await self.pusher.push_image(parse_name(name), platform=platform)]

    def events_of(self, action: str) -> list[str]:
        """The subjects of events that are on record."""
        self.events.flush()
        rows = self.state.rows("SELECT document FROM events ORDER BY number")
        found = [msgspec.json.decode(document) for (document,) in rows]
        return [event["Actor"]["ID"] for event in found if event["Action"] == action]

    @property
    def stored(self) -> dict[str, tuple[str, bytes]]:
        return self.registry.manifests.get(ROOM, {})

    def named(self, tag: str = "1") -> str:
        """What a name refers to here."""
        target = self.stores.images.named(parse(f"{PLACE}:{tag}"))
        assert target is not None
        return target.digest


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    made = Place(tmp_path, monkeypatch)
    yield made
    await made.images.close()
    made.state.close()


async def test_archives_that_were_kept_go_as_they_came(place: Place) -> None:
    one = Made("one")
    await place.keep(one)
    assert await place.push() == [one.descriptor.digest]
    assert place.stored["1"] == (OCI_MANIFEST, one.manifest)
    assert place.registry.blobs[ROOM] == {one.blob.digest: one.layer, one.id: one.config}
    order = [line.split("/")[4] for line in place.registry.requests if line.startswith("PUT")]
    assert order == ["blobs", "blobs", "manifests"], "nobody finds a manifest whose blobs are not there"


async def test_where_the_registry_has_another_form_of_a_layer_the_manifest_is_another(place: Place) -> None:
    """And the name refers to that one, under which the next pull finds it."""
    one = Made("one")
    await place.keep(one)
    there = Descriptor(f"{OCI_LAYER}+gzip", digest_of(b"compressed"), 10)
    place.stores.compressed.add(one.diff_id, there, PLACE)
    place.registry.blobs[ROOM] = {there.digest: b"compressed"}
    (pushed,) = await place.push()
    assert pushed != one.descriptor.digest
    layers = msgspec.json.decode(place.stored["1"][1])["layers"]
    assert layers == [{"mediaType": there.media_type, "digest": there.digest, "size": 10}]
    assert place.named() == pushed
    assert await place.push() == [pushed], "which does not change any more"


async def test_all_tags_or_the_one_that_is_named(place: Place) -> None:
    one, two = Made("one"), Made("two")
    await place.keep(one, tag="b")
    await place.keep(two, tag="a")
    assert await place.push(PLACE) == [two.descriptor.digest, one.descriptor.digest]
    with pytest.raises(NotFound, match=r"^tag does not exist: registry.test/team/app:c$"):
        await place.push(f"{PLACE}:c")
    with pytest.raises(NotFound, match="An image does not exist locally with the tag"):
        await place.push("registry.test/team/other")
    with pytest.raises(InvalidParameter, match="cannot push a digest reference"):
        await place.push(f"{PLACE}@{one.descriptor.digest}")


async def test_an_index_goes_as_a_whole_where_the_rest_of_it_is_there(place: Place) -> None:
    ours, theirs = Made("ours"), Made("theirs", OTHER)
    index = index_of(theirs.descriptor, ours.descriptor)
    await place.keep(ours, index=index)
    place.registry.manifests[ROOM] = {theirs.descriptor.digest: (OCI_MANIFEST, theirs.manifest)}
    assert await place.push() == [digest_of(index)]
    assert place.stored["1"] == (OCI_INDEX, index)
    assert place.stored[ours.descriptor.digest] == (OCI_MANIFEST, ours.manifest)


async def test_of_an_index_whose_rest_is_nowhere_the_image_for_this_machine_goes(place: Place) -> None:
    ours, theirs = Made("ours"), Made("theirs", OTHER)
    index = index_of(theirs.descriptor, ours.descriptor)
    await place.keep(ours, index=index)
    (pushed,) = await place.pusher.push_image(parse(f"{PLACE}:1"))
    assert pushed.target.digest == ours.descriptor.digest
    assert pushed.instead_of is not None
    assert pushed.instead_of.digest == digest_of(index)
    assert place.named() == digest_of(index), "a part does not take the place of the whole"


async def test_one_platform_of_several(place: Place) -> None:
    ours, theirs = Made("ours"), Made("theirs", OTHER)
    index = index_of(theirs.descriptor, ours.descriptor)
    await place.keep(ours, theirs, index=index)
    assert await place.push(platform=Platform(OTHER, "linux")) == [theirs.descriptor.digest]
    assert place.named() == digest_of(index)
    with pytest.raises(NotFound, match=r"does not provide the specified platform \(linux/riscv64\)"):
        await place.push(platform=Platform("riscv64", "linux"))


async def test_what_is_attested_follows_a_manifest_that_became_another(place: Place) -> None:
    ours = Made("ours")
    attested = attestation_manifest(ours.descriptor.digest, [(b"{}", "https://slsa.dev/provenance/v1")])
    index = index_of(ours.descriptor, attested.descriptor)
    await place.keep(ours, index=index, more=attested.contents)
    there = Descriptor(f"{OCI_LAYER}+gzip", digest_of(b"compressed"), 10)
    place.stores.compressed.add(ours.diff_id, there, PLACE)
    place.registry.blobs[ROOM] = {there.digest: b"compressed"}
    (pushed,) = await place.push()
    image, attestation = msgspec.json.decode(place.stored[pushed][1])["manifests"]
    assert image["digest"] != ours.descriptor.digest
    assert attestation["annotations"][REFERENCE_DIGEST] == image["digest"]
    assert {image["digest"], attestation["digest"]} <= place.stored.keys()
    assert place.named() == pushed


async def test_a_push_by_digest_names_nothing(place: Place) -> None:
    one = Made("one")
    await place.keep(one)
    pushed = await place.pusher.push_by_digest(parse(PLACE), one.descriptor.digest)
    assert pushed.digest == one.descriptor.digest
    assert place.stored.keys() == {one.descriptor.digest}
    with pytest.raises(NotFound, match="no such image"):
        await place.pusher.push_by_digest(parse(PLACE), digest_of(b"another"))


@pytest.mark.parametrize("part", ["/blobs/uploads/", "/manifests/"])
async def test_a_registry_that_refuses_in_the_middle_has_no_tag_and_changes_no_name(place: Place, part: str) -> None:
    one = Made("one")
    await place.keep(one)
    place.registry.on("PUT", part, lambda: Answer(400, b'{"errors": [{"code": "X", "message": "no"}]}'))
    with pytest.raises(SystemFault, match=r"no$"):
        await place.push()
    assert place.stored == {}
    assert place.named() == one.descriptor.digest
    assert place.events_of("push") == []


async def test_of_layers_that_go_beside_each_other_one_that_fails_ends_the_others(place: Place) -> None:
    one, two = Made("one"), Made("two")
    await place.keep(one)
    await place.keep(two, tag="2")
    layers = [place.stores.images.by_id(made.id).layers[0] for made in (one, two)]  # type: ignore[union-attr]
    place.registry.on("PATCH", "/blobs/", lambda: Answer(403))
    client = place.registry.client()
    with pytest.raises(Exception, match="denied"):
        await place.pusher.push_layers(client, client.repository(ROOM), parse(f"{PLACE}:1"), layers)  # type: ignore[arg-type]
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_disk_that_is_full_when_the_registry_has_it_all_leaves_the_name_as_it_was(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Made("one")
    await place.keep(one)
    there = Descriptor(f"{OCI_LAYER}+gzip", digest_of(b"compressed"), 10)
    place.stores.compressed.add(one.diff_id, there, PLACE)
    place.registry.blobs[ROOM] = {there.digest: b"compressed"}

    def full(*_: object, **__: object) -> None:
        raise NoSpace("no space left on device")

    monkeypatch.setattr(place.events, "publish", full)
    with pytest.raises(NoSpace):
        await place.push()
    monkeypatch.undo()
    assert place.named() == one.descriptor.digest
    assert place.events_of("push") == []
