"""`--keep-layer-blobs`: archives of layers are kept as they came, and so what is pushed and saved has its digests."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made, tar

pytestmark = needs_registry
NewEngine = Callable[..., Engine]
CONTENT = os.urandom(300_000)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


@pytest.fixture
def made() -> Made:
    """Two layers, compressed in a way that is not the engine's."""
    return Made(tar({"etc/base": CONTENT}), tar({"etc/text": b"text " * 50_000}))


def blobs(engine: Engine) -> set[str]:
    return {f"sha256:{path.name}" for path in (engine.data_root / "images" / "blobs" / "sha256").iterdir()}


def manifests_of(archive: bytes) -> list[str]:
    """The digests that the index of a saved archive names."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        index = opened.extractfile("index.json")
        assert index is not None
        return [one["digest"] for one in json.loads(index.read())["manifests"]]


def test_a_push_elsewhere_keeps_the_digest(new_engine: NewEngine, registry: Registry, made: Made) -> None:
    digest = made.push(registry.address, "from/here", "1").digest
    name = f"{registry.address}/from/here:1"
    for flags in (["--keep-layer-blobs"], []):
        engine = new_engine(*flags)
        engine.docker("pull", "-q", name).ok()
        assert (set(made.layers) <= blobs(engine)) is bool(flags)
        with Registry() as other:
            copy = f"{other.address}/copy:1"
            engine.docker("tag", name, copy).ok()
            said = engine.docker("push", copy).ok().out
            # Without, the layers are compressed anew, and the manifest is another one.
            assert (f"digest: {digest} " in said) is bool(flags)
            assert said.count("Pushed") == 2
            there = other.get("copy/manifests/1")
            assert ([layer["digest"] for layer in there["layers"]] == made.layers) is bool(flags)


def test_what_is_saved_and_loaded_keeps_the_digest(
    new_engine: NewEngine, registry: Registry, made: Made, tmp_path: Path
) -> None:
    digest = made.push(registry.address, "from/here", "1").digest
    name = f"{registry.address}/from/here:1"
    first, second = new_engine("--keep-layer-blobs"), new_engine("--keep-layer-blobs")
    first.docker("pull", "-q", name).ok()
    archive = first.docker("save", name).ok().raw
    assert manifests_of(archive) == [digest]
    second.docker("load", input=archive).ok()
    assert set(made.layers) <= blobs(second)
    assert not list((second.data_root / "images" / "ingest").iterdir())
    assert manifests_of(second.docker("save", name).ok().raw) == [digest]
    # Others read it, too: layers are compressed in there.
    plain = new_engine()
    plain.docker("load", input=archive).ok()
    layers = json.loads(plain.docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", name).ok().out)
    assert layers == made.diff_ids
    assert not set(made.layers) & blobs(plain)
    # A layer that is here already is kept of the next archive that has it.
    plain.flags = ("--keep-layer-blobs",)
    plain.restart()
    plain.docker("load", input=archive).ok()
    assert set(made.layers) <= blobs(plain)


def test_they_are_counted_checked_and_go_with_their_images(
    new_engine: NewEngine, registry: Registry, made: Made
) -> None:
    made.push(registry.address, "from/here", "1")
    name = f"{registry.address}/from/here:1"
    engine = new_engine("--keep-layer-blobs")
    engine.docker("pull", "-q", name).ok()
    engine.restart()
    assert set(made.layers) <= blobs(engine)
    images = engine.data_root / "images"
    paths = [images / part for part in ("layers", "blobs", "partials")]
    found = subprocess.run(["du", "-s", "-c", "-B1", *paths], check=True, capture_output=True, text=True).stdout
    told = engine.api("GET", "/system/df").json()["LayersSize"]
    assert 0 <= int(found.split()[-2]) - told <= 4 * 4096
    assert engine.darse("system", "check").status == 0
    # One that is damaged is told, and with repair it goes: the layer is whole without it.
    damaged = images / "blobs" / "sha256" / made.layers[0].removeprefix("sha256:")
    damaged.write_bytes(b"\0" + damaged.read_bytes()[1:])
    done = engine.darse("system", "check")
    assert done.status == 1
    assert f"{made.layers[0]}: is damaged" in done.out + done.err
    engine.darse("system", "check", "--repair").ok()
    assert made.layers[0] not in blobs(engine)
    assert made.layers[1] in blobs(engine)
    assert engine.api("GET", "/system/df").json()["LayersSize"] < told - len(CONTENT)
    pruned = engine.api("POST", '/images/prune?filters={"dangling":["false"]}').json()
    assert pruned["SpaceReclaimed"] > len(CONTENT)  # unpacked; and the smaller archive
    assert blobs(engine) == set()


def test_a_layer_that_two_images_have_is_kept_for_the_second(
    new_engine: NewEngine, registry: Registry, made: Made
) -> None:
    made.push(registry.address, "from/one", "1")
    other = Made(tar({"etc/base": CONTENT}), tar({"etc/other": b"other"}))
    other.push(registry.address, "from/two", "1")
    engine = new_engine("--keep-layer-blobs")
    for name in ("one", "two"):
        engine.docker("pull", "-q", f"{registry.address}/from/{name}:1").ok()
    engine.docker("rmi", f"{registry.address}/from/one:1").ok()
    assert blobs(engine) >= set(other.layers)
    assert made.layers[1] not in blobs(engine)
    engine.docker("rmi", f"{registry.address}/from/two:1").ok()
    assert blobs(engine) == set()
