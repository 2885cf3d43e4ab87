"""Layers that are made to harm: each is refused with its reason, and nothing is left or touched."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.hostile_archives import HOSTILE
from tests.support.engine import Engine

from darse.core.errors import InvalidParameter
from darse.core.events import SCHEMA as EVENTS
from darse.core.state import State
from darse.images.content.store import ContentStore
from darse.images.layers import store as layer_store
from darse.images.layers.sources import FileSource
from darse.images.layers.store import LayerStore

# Of a worker, in KiB: its interpreter, buffers, and what decompressors keep of what came before.
_RESIDENT = 250 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    state = State(tmp_path / "state.sqlite", [EVENTS, layer_store.SCHEMA])
    content = ContentStore(tmp_path / "images")
    content.open()
    made = LayerStore(tmp_path / "images", state, content)
    made.open()
    yield made
    state.close()


def tree(root: Path) -> set[tuple[str, int, int]]:
    return {
        (str(path), path.lstat().st_mode, path.lstat().st_mtime_ns)
        for path in root.rglob("*")
        if not path.name.startswith("state.sqlite") and path.name != "ingest"
    }


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_layer_is_refused_and_nothing_is_left(store: LayerStore, tmp_path: Path, name: str) -> None:
    case = HOSTILE[name]
    content = await asyncio.to_thread(case.archive)
    source = tmp_path / "archive"
    source.write_bytes(content)
    (tmp_path / "outside").mkdir()
    before = tree(tmp_path)
    diff_id = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with pytest.raises(InvalidParameter) as refusal:
        await store.ensure(diff_id, diff_id, FileSource(source), limit=case.limit)
    assert re.search(case.error, str(refusal.value))
    assert len(str(refusal.value)) < 1000
    assert tree(tmp_path) == before
    assert not list((tmp_path / "images/ingest").iterdir())
    assert not store.exists(diff_id)


# A child's peak begins at its parent's, so the parent is a small process and not the tests'.
_PEAK = """
import asyncio, pathlib, resource, sys
from darse.archive import process
from darse.archive.process import unpack
async def main():
    for directory, limit in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
        with open(directory + ".tar", "rb") as source, open(directory + ".recipe", "wb") as recipe:
            await unpack(pathlib.Path(directory), source.fileno(), recipe.fileno(), limit=limit)
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)
asyncio.run(main())
"""


@pytest.mark.heavy
def test_no_archive_makes_its_worker_large(tmp_path: Path) -> None:
    arguments: list[str] = []
    for number, case in enumerate(HOSTILE.values()):
        target = tmp_path / f"{number}"
        target.with_suffix(".tar").write_bytes(case.archive())
        target.mkdir()
        arguments += [str(target), str(case.limit)]
    done = subprocess.run([sys.executable, "-c", _PEAK, *arguments], check=True, capture_output=True, text=True)
    # The largest worker so far, after each archive.
    peaks = dict(zip(HOSTILE, map(int, done.stdout.split()), strict=True))
    assert [name for name, peak in peaks.items() if peak >= _RESIDENT] == []


def test_there_are_as_many_kinds_of_harm_as_we_say(tell: Callable[[str], None]) -> None:
    assert len(HOSTILE) >= 60
    tell(f"hostile archives: {len(HOSTILE)} refused")


@pytest.mark.parametrize("name", ["parent", "hard link to the host", "file twice", "gzip cut", "sparse, overlapping"])
def test_an_engine_refuses_images_with_hostile_layers(engine: Engine, name: str) -> None:
    case = HOSTILE[name]
    layer = case.archive()
    config = json.dumps(
        {"os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}}
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["hostile:latest"], "Layers": ["layer.tar"]}])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in (("config.json", config), ("layer.tar", layer), ("manifest.json", manifest.encode())):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    before = sorted(os.listdir(engine.data_root / "images/layers"))
    done = engine.docker("load", input=buffer.getvalue())
    assert done.status == 1
    assert re.search(case.error, done.err)
    assert "hostile" not in engine.docker("images").ok().out
    assert sorted(os.listdir(engine.data_root / "images/layers")) == before
