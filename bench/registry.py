"""Pull and push of an image of ten layers and 1 GB, with Debian's docker-registry beside each engine."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.catalog import layers
from tests.catalog.build import ARCHITECTURE
from tests.catalog.catalogue import cache_directory
from tests.catalog.layout import MANIFEST, Descriptor, Layout
from tests.catalog.publish import publish
from tests.support.registry import PROGRAM, Registry

from bench.engines import BenchEngine
from bench.measure import Measure, seconds

_NAME = "ten-layers"
_LAYERS = 10
_FILES = 1700  # in each, of 60 kB: as many as images of that size have
_FILE_BYTES = 60_000


@contextmanager
def registry_beside(engine: BenchEngine, storage: Path | None = None) -> Iterator[Registry]:
    """A registry in the network namespace of an engine, on its loopback."""
    registry = Registry(storage, read_only=storage is not None, namespace=engine.namespace)
    with registry:
        yield registry


@contextmanager
def image_to_pull(engine: BenchEngine) -> Iterator[None]:
    """A registry that has the image."""
    with registry_beside(engine, stored_image()) as registry:
        engine.notes["image"] = f"{registry.address}/library/{_NAME}"
        yield
        engine.docker("rmi", "-f", engine.notes.pop("image"))


def pull(engine: BenchEngine) -> float:
    """A pull by an engine that has nothing of the image."""
    image = engine.notes["image"]
    if image in engine.docker("images", "--format", "{{.Repository}}"):
        engine.docker("rmi", image)
    os.sync()  # what the other engine has left to be written is none of this one's business
    return seconds(engine, "pull", "-q", image)


def disk(engine: BenchEngine) -> float:
    """What the pulled image takes on disk, in MB: of the whole data root, with and without it."""
    image = engine.notes["image"]
    if image in engine.docker("images", "--format", "{{.Repository}}"):
        engine.docker("rmi", image)
    before = used(engine.data_root)
    engine.docker("pull", "-q", image)
    return used(engine.data_root) - before


def used(directory: Path) -> float:
    """The blocks that a directory's files take, in MB."""
    done = subprocess.run(["du", "-sx", "--block-size=1", str(directory)], capture_output=True, check=True)
    return int(done.stdout.split()[0]) / 1e6


@contextmanager
def image_to_push(engine: BenchEngine) -> Iterator[None]:
    """An engine that has pulled the image."""
    with image_to_pull(engine):
        engine.docker("pull", "-q", engine.notes["image"])
        yield


def push(engine: BenchEngine) -> float:
    """A push to a registry that has nothing."""
    with registry_beside(engine) as registry:
        target = f"{registry.address}/pushed/{_NAME}"
        engine.docker("tag", engine.notes["image"], target)
        took = seconds(engine, "push", "-q", target)
        engine.docker("rmi", target)
    return took


def stored_image() -> Path:
    """The storage of a registry that has the image; it is made once, and kept beside the catalogue."""
    made = cache_directory() / "bench" / f"{_NAME}-{_LAYERS}-{_FILES}-{_FILE_BYTES}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
            layout = Layout(Path(scratch) / "layout")
            layout.name([f"{_NAME}:latest"], _image(layout, Path(scratch) / "tree"))
            with Registry(Path(scratch) / "storage") as registry:
                publish(layout, [f"{_NAME}:latest"], registry.address)
            (Path(scratch) / "storage").rename(made)
    return made


def _image(layout: Layout, tree: Path) -> Descriptor:
    """The image: a quarter of each file does not compress, as in images of programs."""
    generator = random.Random(1)
    words = [generator.randbytes(generator.randrange(3, 12)).hex().encode() for _ in range(2000)]
    stack = []
    for number in range(_LAYERS):
        top = tree / f"layer{number}"
        for index in range(_FILES):
            path = top / f"{index % 40}" / f"file{index}"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = b" ".join(generator.choices(words, k=_FILE_BYTES // 8))
            path.write_bytes(text[: _FILE_BYTES * 3 // 4] + generator.randbytes(_FILE_BYTES // 4))
        paths = [path for path in layers.look(tree) if path.startswith(top.name)]
        stack.append(layers.pack(tree, paths, layout.blobs, since=0))
        shutil.rmtree(top)
    config = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in stack]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.put(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer.digest, "size": layer.size}
            for layer in stack
        ],
    }
    return layout.put(manifest, MANIFEST)


def measures(rounds: int) -> list[Measure]:
    """All that is measured; nothing without docker-registry."""
    if PROGRAM is None:
        print("docker-registry is not installed (Debian package): pull and push are not measured\n")
        return []
    few = max(3, rounds // 7)
    return [
        Measure("pull 10 layers, 1 GB", "ms", 0.6, few, pull, image_to_pull),
        Measure("disk of it", "MB", 1.0, 1, disk, image_to_pull),
        Measure("push 10 layers, 1 GB", "ms", 0.8, few, push, image_to_push),
    ]
