"""A layer on its way to a registry that has it, has it elsewhere, refuses it, or breaks off."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from darse.distribution.errors import Faulty, RegistryError
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_LAYER, OCI_MANIFEST
from darse.images.layers.compressed import CompressedDigest
from darse.images.model import Layer
from darse.images.progress import LayerStage
from darse.images.references import parse
from darse.images.transfer.manager import ResizableSemaphore
from darse.images.transfer.uploads import LayerUpload
from darse.testing.registry import Answer, FakeRegistry

CONTENT = b"a layer" * 1000
BLOB = Descriptor(f"{OCI_LAYER}+gzip", digest_of(CONTENT), len(CONTENT))
NAME = parse("registry.test/team/app:1")
NOT_USED: Any = None


def form(number: int, repository: str = "") -> CompressedDigest:
    """Another form of the layer that a registry may have."""
    return CompressedDigest(Descriptor(f"{OCI_LAYER}+gzip", digest_of(b"%d" % number), number), repository)


class Push:
    """One layer, whose archive was kept."""

    def __init__(self, directory: Path, *candidates: CompressedDigest, blob: Descriptor = BLOB) -> None:
        kept = directory / "kept"
        kept.write_bytes(CONTENT)
        layer = Layer(blob, digest_of(b"diff"), "sha256:chain")
        self.registry = FakeRegistry()
        known = list(candidates) or [CompressedDigest(blob, "")]
        self.upload = LayerUpload(layer, 9, known, OCI_MANIFEST, kept)
        self.slots = ResizableSemaphore(lambda: 1)

    async def run(self) -> Descriptor:
        return await self.upload.run(self.registry.client().repository(NAME.path), NAME, NOT_USED, self.slots)

    @property
    def stages(self) -> list[LayerStage]:
        return [step.stage for step in self.upload.steps()]


async def test_a_layer_that_is_there_is_not_sent(tmp_path: Path) -> None:
    push = Push(tmp_path, form(1), form(2))
    push.registry.blobs["team/app"] = {form(2).descriptor.digest: b""}
    assert await push.run() == form(2).descriptor
    assert push.stages[-1] is LayerStage.PRESENT
    assert {line.split()[0] for line in push.registry.requests} == {"HEAD"}


async def test_only_a_few_forms_are_asked_for(tmp_path: Path) -> None:
    """A layer that was pushed to many places has many, and each question is a round trip."""
    push = Push(tmp_path, *map(form, range(50)))
    await push.run()
    assert sum(line.startswith("HEAD") for line in push.registry.requests) == 4
    assert push.registry.blobs["team/app"] == {BLOB.digest: CONTENT}


async def test_what_another_repository_of_the_registry_has_is_mounted(tmp_path: Path) -> None:
    elsewhere, here, there = form(1, "docker.io/x/y"), form(2, "registry.test/team/app"), form(3, "registry.test/base")
    push = Push(tmp_path, elsewhere, here, there)
    push.registry.blobs["base"] = {there.descriptor.digest: b"there"}
    assert await push.run() == there.descriptor
    assert push.registry.blobs["team/app"] == {there.descriptor.digest: b"there"}
    assert [line for line in push.registry.requests if line.startswith("POST")] == [
        f"POST /v2/team/app/blobs/uploads/?mount={there.descriptor.digest.replace(':', '%3A')}&from=base"
    ]
    assert push.upload.steps()[-1].mounted_from == "base"


@pytest.mark.parametrize("refusal", [Answer(403), Answer(404), None], ids=["denied", "absent", "gone"])
async def test_what_cannot_be_mounted_is_sent(tmp_path: Path, refusal: Answer | None) -> None:
    """The source may be somebody else's by now, or have lost the blob: then the registry begins an upload instead."""
    push = Push(tmp_path, form(1, "registry.test/base"))
    push.registry.on("POST", "mount=", lambda: refusal)
    assert await push.run() == BLOB
    assert push.registry.blobs["team/app"] == {BLOB.digest: CONTENT}
    assert push.registry.uploads == {}, "what the registry has begun is given up"


async def test_a_registry_that_breaks_off_gets_it_again_from_the_beginning(tmp_path: Path) -> None:
    push = Push(tmp_path)
    failures = iter([Answer(503), Answer(500)])
    push.registry.on("PATCH", "/blobs/uploads/", lambda: next(failures, None))
    assert await push.run() == BLOB
    assert push.registry.blobs["team/app"] == {BLOB.digest: CONTENT}
    assert push.stages.count(LayerStage.PUSHING) == 3
    assert push.upload.steps()[-2].current() == len(CONTENT)
    assert push.registry.uploads == {}


async def test_a_registry_that_always_breaks_off_is_given_up(tmp_path: Path) -> None:
    push = Push(tmp_path)
    push.registry.on("PATCH", "/blobs/uploads/", lambda: Answer(503))
    with pytest.raises(Faulty):
        await push.run()
    assert push.stages.count(LayerStage.PUSHING) == push.registry.limits.attempts
    assert push.slots.is_free


async def test_a_kept_archive_that_is_damaged_is_refused_by_the_registry(tmp_path: Path) -> None:
    push = Push(tmp_path, blob=Descriptor(BLOB.media_type, digest_of(b"another"), len(CONTENT)))
    with pytest.raises(RegistryError, match="another digest"):
        await push.run()
    assert push.stages.count(LayerStage.PUSHING) == 1, "it would be damaged the next time, too"
    assert push.registry.blobs == {}


async def test_a_layer_that_lies_elsewhere_is_only_named(tmp_path: Path) -> None:
    foreign = Descriptor(BLOB.media_type, BLOB.digest, BLOB.size, urls=["https://example.com/layer"])
    push = Push(tmp_path, blob=foreign)
    assert await push.run() == foreign
    assert push.registry.requests == []


async def test_a_push_that_is_given_up_ends_its_upload_and_gives_back_its_slot(tmp_path: Path) -> None:
    push = Push(tmp_path)
    loop = asyncio.get_running_loop()
    running: list[asyncio.Task[Descriptor]] = []

    def give_up() -> None:
        loop.call_soon_threadsafe(running[0].cancel)

    push.registry.on("PATCH", "/blobs/uploads/", give_up)
    running.append(asyncio.create_task(push.run()))
    with pytest.raises(asyncio.CancelledError):
        await running[0]
    assert push.slots.is_free
    assert push.registry.blobs.get("team/app", {}) in ({}, {BLOB.digest: CONTENT})
