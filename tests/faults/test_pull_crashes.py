"""kill -9 of the engine while it pulls: nothing half is visible, the next pull goes on where it broke off.

`DARSE_FAULT_SEED` repeats a run; the seed is printed.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made, tar

pytestmark = needs_registry
_LAYERS = 4
_LAYER_BYTES = 6_000_000


@pytest.fixture(scope="module")
def made() -> Made:
    """An image whose layers cannot be compressed."""
    content = random.Random(0).randbytes
    return Made(*(tar({f"data/{number}": content(_LAYER_BYTES)}) for number in range(_LAYERS)))


@pytest.fixture
def registry(made: Made) -> Iterator[Registry]:
    with Registry() as started:
        made.push(started.address, "big/image", "1")
        yield started


def pull(engine: Engine, name: str) -> None:
    """Pull until the engine is gone."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        engine.api("POST", f"/images/create?fromImage={name}&tag=1", timeout=120)


def took(engine: Engine, name: str) -> float:
    """Seconds that a whole pull takes now; the image is gone afterwards."""
    begun = time.monotonic()
    engine.docker("pull", "-q", f"{name}:1").ok()
    passed = time.monotonic() - begun
    engine.docker("rmi", f"{name}:1").ok()
    return passed


def crash(engine: Engine, registry: Registry, made: Made, count: int, tell: Callable[[str], None]) -> None:
    seed = int(os.environ.get("DARSE_FAULT_SEED") or random.SystemRandom().getrandbits(32))
    chance = random.Random(seed)
    name = f"{registry.address}/big/image"
    longest = took(engine, name)
    whole = resumed = done = 0
    images = engine.data_root / "images"
    try:
        for number in range(count):
            thread = threading.Thread(target=pull, args=(engine, name))
            thread.start()
            # Not a wait for anything: the instant is what is being tried.
            time.sleep(chance.uniform(0, longest))
            engine.kill9()
            thread.join()
            engine.up()
            listed = engine.api("GET", "/images/json").json()
            there = [one for one in listed if one["RepoTags"] == [f"{name}:1"]]
            assert [one["Id"] for one in there] in ([], [made.id]), (number, seed, listed)
            assert os.listdir(images / "ingest") == [], (number, seed)
            if there:
                whole += 1
            else:
                assert os.listdir(images / "layers") == [], (number, seed)
                resumed += check_resumes(engine, registry, name, images / "partials")
            assert contents(engine, name) == made.diff_ids
            if "--keep-layer-blobs" in engine.flags:
                # Also when it was recorded just before the end.
                assert {digest.removeprefix("sha256:") for digest in made.layers} <= set(
                    os.listdir(images / "blobs" / "sha256")
                ), (number, seed)
            engine.docker("rmi", f"{name}:1").ok()
            assert [
                entry for part in ("layers", "blobs/sha256", "partials") for entry in os.listdir(images / part)
            ] == []
            done += 1
    finally:
        tell(f"kill -9 during pulls: {done} crashes, {whole} after the end, {resumed} resumed; DARSE_FAULT_SEED={seed}")


def check_resumes(engine: Engine, registry: Registry, name: str, partials: Path) -> bool:
    """Pull again; return whether something was there to go on from. What was there is not fetched again."""
    there = {path.name: path.stat().st_size for path in partials.iterdir()}
    before = len(registry.requests())
    engine.docker("pull", "-q", f"{name}:1").ok()
    asked = [one for one in registry.requests()[before:] if "/blobs/" in one]
    for digest, size in there.items():
        statuses = [one.rpartition(" ")[2] for one in asked if digest in one]
        # 206: from there on. Nothing: it was whole already.
        assert not size or all(status == "206" for status in statuses), (digest, size, asked)
    return any(there.values())


def contents(engine: Engine, name: str) -> list[str]:
    """The layers of the image, each read back and verified against its digest by a save."""
    inspected = engine.api("GET", f"/images/{name}:1/json").json()
    saved = engine.api("GET", f"/images/{name}:1/get", timeout=120)
    assert saved.status == 200
    found: list[str] = inspected["RootFS"]["Layers"]
    assert all(diff_id.removeprefix("sha256:").encode() in saved.body for diff_id in found)
    return found


@pytest.mark.timeout(280)
@pytest.mark.parametrize("flags", [[], ["--keep-layer-blobs"]])
def test_some_crashes(
    new_engine: Callable[..., Engine], registry: Registry, made: Made, tell: Callable[[str], None], flags: list[str]
) -> None:
    crash(new_engine(*flags), registry, made, 3, tell)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("flags", "count"), [([], 100), (["--keep-layer-blobs"], 50)])
def test_many_crashes(
    new_engine: Callable[..., Engine],
    registry: Registry,
    made: Made,
    tell: Callable[[str], None],
    flags: list[str],
    count: int,
) -> None:
    crash(new_engine(*flags), registry, made, count, tell)
