"""What is collected is looked for and renamed beside the event loop, and nobody comes to need it meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from darse.core.events import EventLog
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor, encode_manifest
from darse.image_spec.media_types import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from darse.images.content.attestations import attestation_manifest
from darse.images.layers.store import StagedLayer
from darse.images.service import ImageService
from darse.images.writer import ImageDocuments
from darse.recovery.startup import Recovery
from darse.testing.blocking import on_this_thread

T = TypeVar("T")
_CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
_CHAIN = f"sha256:{'a' * 64}"


class _Place:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = State(root / "state.sqlite", SCHEMAS)
        self.service = ImageService(root, self.state, EventLog(self.state))
        self.service.open([], Recovery(root, self.state))
        self.stores = self.service.stores
        self.gc = self.stores.gc

    async def add_layer(self, content: str) -> None:
        staged = self.stores.content.temporary()
        (staged / "fs").mkdir(parents=True)
        (staged / "fs" / "file").write_text(content)
        await self.stores.layers.publish(StagedLayer(staged, _CHAIN, 1, 1), _CHAIN)

    def layer(self) -> str | None:
        """What the layer's file has; None when there is no layer."""
        if not self.stores.layers.exists(_CHAIN):
            return None
        return (self.stores.layers.path(_CHAIN) / "file").read_text()

    async def add_attested_image(self) -> set[str]:
        """An image that is built with an attestation; the digests of all its documents."""
        manifest = encode_manifest(Descriptor.of(_CONFIG, OCI_CONFIG), [], OCI_MANIFEST)
        about = attestation_manifest(digest_of(manifest), [(b"{}", "https://slsa.dev/provenance/v0.2")])
        index = msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [Descriptor.of(manifest, OCI_MANIFEST), about.descriptor],
            }
        )
        documents = ImageDocuments.of_target(
            index, OCI_INDEX, config=_CONFIG, manifests={digest_of(manifest): manifest}
        )
        async with self.service.lease():
            await self.service.create_target([documents], about.contents)
        return {digest_of(one) for one in (_CONFIG, manifest, index, *about.contents)}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[_Place]:
    made = _Place(tmp_path)
    yield made
    made.state.close()


class _Gate:
    """Holds a call up in its thread."""

    def __init__(self, call: Callable[..., T]) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self.go_on = threading.Event()

    def __call__(self, *arguments: object) -> T:
        self._loop.call_soon_threadsafe(self.reached.set)
        assert self.go_on.wait(10)
        return self._call(*arguments)


async def test_garbage_is_looked_for_and_renamed_beside_the_event_loop(place: _Place) -> None:
    kept = await place.add_attested_image()
    for number in range(3):
        place.stores.content.put(b"%d" % number, OCI_MANIFEST)
    await place.add_layer("old")
    with on_this_thread(place.stores.content.staging.parent) as seen:
        result = await place.gc.collect()
    assert seen == []
    assert result.chain_ids == [_CHAIN]
    assert place.layer() is None
    assert len(kept) == 6
    assert set(place.stores.content.digests()) == kept
    assert list(place.stores.content.staging.iterdir()) == []


async def test_a_document_that_is_just_removed_is_stored_again(place: _Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.stores.content.put(b"again", OCI_MANIFEST)
    gate = _Gate(place.stores.content.take_out)
    monkeypatch.setattr(place.stores.content, "take_out", gate)
    found: list[bool] = []

    async def store() -> None:
        async with place.gc.lease(), place.stores.content.stored([b"again"]):
            found.append(place.stores.content.has(digest_of(b"again")))

    collecting = asyncio.create_task(place.gc.collect())
    await gate.reached.wait()
    storing = asyncio.create_task(store())
    await asyncio.sleep(0)
    assert found == []
    gate.go_on.set()
    await asyncio.gather(collecting, storing)
    assert found == [True]


async def test_no_document_goes_while_somebody_has_a_lease(place: _Place) -> None:
    async with place.gc.lease():
        place.stores.content.put(b"mine", OCI_MANIFEST)
        await place.gc.collect()
        assert place.stores.content.has(digest_of(b"mine"))
    assert not place.stores.content.has(digest_of(b"mine"))


async def test_a_layer_that_is_just_removed_comes_again(place: _Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.add_layer("old")
    gate = _Gate(place.stores.layers.take_out)
    monkeypatch.setattr(place.stores.layers, "take_out", gate)
    collecting = asyncio.create_task(place.gc.collect())
    await gate.reached.wait()
    assert place.layer() is None  # whoever looks for it unpacks it again
    async with place.gc.lease() as lease:
        lease.hold(_CHAIN)
        adding = asyncio.create_task(place.add_layer("new"))
        await asyncio.sleep(0)
        gate.go_on.set()
        await asyncio.gather(collecting, adding)
        assert place.layer() == "new"


async def test_a_layer_that_somebody_comes_to_need_meanwhile_stays(
    place: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.add_layer("old")
    locked = place.stores.layers.locked

    @asynccontextmanager
    async def late(chain_ids: Iterable[str]) -> AsyncIterator[None]:
        async with locked(chain_ids):
            lease.hold(_CHAIN)  # as the locks were waited for
            yield

    monkeypatch.setattr(place.stores.layers, "locked", late)
    async with place.gc.lease() as lease:
        assert (await place.gc.collect()).chain_ids == []
        assert place.layer() == "old"
    assert place.layer() is None  # the end of the lease has collected it
