"""The engine that pulls and pushes a layer of 2 GB stays small."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import HOST, document, repository

from darse.distribution import Uploads
from darse.image_spec.digests import digest_of
from darse.image_spec.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

pytestmark = [needs_registry, pytest.mark.heavy]
LIMIT = 150 * 1024 * 1024
_FILES, _FILE = 32, 64 * 1024 * 1024


def archive() -> Iterator[bytes]:
    """An archive of 2 GB, piece by piece."""
    piece = os.urandom(1024 * 1024)
    for number in range(_FILES):
        member = tarfile.TarInfo(f"data/{number}")
        member.size = _FILE
        yield member.tobuf()
        for part in range(_FILE // len(piece)):
            yield part.to_bytes(8, "little") + piece[8:]
    yield bytes(2 * tarfile.BLOCKSIZE)


class Counted:
    """What goes through, and its digest."""

    def __init__(self) -> None:
        self.checksum = hashlib.sha256()
        self.size = 0

    def through(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.checksum.update(piece)
            self.size += len(piece)
            yield piece

    @property
    def digest(self) -> str:
        return f"sha256:{self.checksum.hexdigest()}"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry with an image of one layer, uncompressed, so that its size is the download's."""
    with Registry() as started:
        uploads, counted = Uploads(repository(started.address, "big/layer")), Counted()
        uploads.stream(counted.through(archive()), lambda: counted.digest)
        config = json.dumps(
            {"architecture": HOST, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [counted.digest]}}
        ).encode()
        uploads.put(config, digest_of(config))
        layer = {"mediaType": OCI_LAYER, "digest": counted.digest, "size": counted.size}
        described = {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)}
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": [layer]}
        uploads.put_manifest("1", document(manifest, OCI_MANIFEST))
        yield started


class Highest:
    """The most memory that the engine and each of its children had at any time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = self.child = 0
        self._pid = engine.pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.engine = max(self.engine, _highest(self._pid))
            for task in _children(self._pid):
                self.child = max(self.child, _highest(task))

    def __enter__(self) -> Highest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _children(pid: int) -> list[int]:
    try:
        tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for text in tasks for child in text.split()]


def _highest(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


@pytest.mark.timeout(600)
def test_two_gigabytes(new_engine: Callable[..., Engine], registry: Registry, tell: Callable[[str], None]) -> None:
    engine = new_engine()
    name = f"{registry.address}/big/layer:1"
    with Highest(engine) as pull:
        engine.docker("pull", "-q", name, timeout=300).ok()
    with Registry() as other:
        engine.docker("tag", name, f"{other.address}/big/layer:1").ok()
        with Highest(engine) as push:
            engine.docker("push", "-q", f"{other.address}/big/layer:1", timeout=300).ok()
    megabyte = 1024 * 1024
    tell(
        f"a layer of 2 GB: pull {pull.engine // megabyte} MB in the engine and {pull.child // megabyte} MB in its "
        f"worker, push {push.engine // megabyte} and {push.child // megabyte} MB"
    )
    assert 0 < pull.engine < LIMIT
    assert pull.child < LIMIT
    assert push.engine < LIMIT
    assert push.child < LIMIT
