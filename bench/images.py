"""Images: an archive comes and goes, and many are listed.

The archive is of one image, as docker writes them: 17,000 files of 400 MB in four layers, sizes spread as in a Linux
distribution. Each engine loads the same file; beside it stands what `tar -x` takes for these layers, on the same disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import random
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engines import BenchEngine
from bench.measure import Measure, seconds

_FILES, _BYTES, _LAYERS = 17_000, 400_000_000, 4
_LISTED = 500
_BIG = "bench/big:1"


def sizes_of_files(count: int, total: int) -> list[int]:
    """Sizes of files: most are small, a few make up most of it."""
    chance = random.Random(7)
    drawn = [math.exp(chance.gauss(8.3, 1.9)) for _ in range(count)]
    return [int(one * total / sum(drawn)) for one in drawn]


def _layer(number: int, sizes: list[int]) -> bytes:
    """A layer's archive: a hundred files to a directory, contents that do not compress."""
    chance = random.Random(number)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for position, size in enumerate(sizes):
            directory = f"usr/lib/part{number}-{position // 100}"
            if position % 100 == 0:
                member = tarfile.TarInfo(directory)
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            member = tarfile.TarInfo(f"{directory}/file{position}")
            member.size, member.mtime = size, 1_700_000_000 + position
            archive.addfile(member, io.BytesIO(chance.randbytes(size)))
    return buffer.getvalue()


def _config(diff_ids: list[str], number: int = 0) -> bytes:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": f"2024-01-01T{number // 60:02}:{number % 60:02}:00Z",
        "config": {"Cmd": ["true"], "Labels": {"number": str(number)}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "bench"} for _ in diff_ids],
    }
    return json.dumps(document).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_big(path: Path) -> None:
    """Write the archive of the image `bench/big:1`."""
    sizes = sizes_of_files(_FILES, _BYTES)
    diff_ids, members = [], []
    with tarfile.open(path, "w") as archive:
        for number in range(_LAYERS):
            layer = _layer(number, sizes[number::_LAYERS])
            diff_ids.append(f"sha256:{hashlib.sha256(layer).hexdigest()}")
            members.append(f"{diff_ids[-1][7:]}/layer.tar")
            _add(archive, members[-1], layer)
        config = _config(diff_ids)
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        _add(archive, name, config)
        _add(archive, "manifest.json", json.dumps([{"Config": name, "RepoTags": [_BIG], "Layers": members}]).encode())


def write_many(path: Path) -> None:
    """Write an archive of many small images that share their layer."""
    layer = _layer(99, [100] * 10)
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    table = []
    with tarfile.open(path, "w") as archive:
        _add(archive, f"{diff_id[7:]}/layer.tar", layer)
        for number in range(_LISTED):
            config = _config([diff_id], number)
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(archive, name, config)
            tags = [f"bench/listed{number}:1"]
            table.append({"Config": name, "RepoTags": tags, "Layers": [f"{diff_id[7:]}/layer.tar"]})
        _add(archive, "manifest.json", json.dumps(table).encode())


@contextmanager
def big_archive(engine: BenchEngine) -> Iterator[None]:
    """The archive, in the engine's root, and the layers in it for `tar`."""
    write_big(engine.root / "big.tar")
    (engine.root / "parts").mkdir()
    subprocess.run(["tar", "-C", engine.root / "parts", "-xf", engine.root / "big.tar"], check=True)
    yield
    (engine.root / "big.tar").unlink()
    shutil.rmtree(engine.root / "parts")


@contextmanager
def big_image(engine: BenchEngine) -> Iterator[None]:
    """The image, loaded."""
    with big_archive(engine):
        engine.docker("load", "-i", str(engine.root / "big.tar"))
        yield
        engine.docker("rmi", _BIG)


@contextmanager
def many_images(engine: BenchEngine) -> Iterator[None]:
    """Five hundred images."""
    write_many(engine.root / "many.tar")
    engine.docker("load", "-q", "-i", str(engine.root / "many.tar"))
    (engine.root / "many.tar").unlink()
    yield
    engine.docker("rmi", *(f"bench/listed{number}:1" for number in range(_LISTED)))


def load(engine: BenchEngine) -> float:
    """A load of the archive; the image is removed outside of the measurement."""
    os.sync()  # what the other engine, or tar, has left to be written is none of this one's business
    took = seconds(engine, "load", "-i", str(engine.root / "big.tar"))
    engine.docker("rmi", _BIG)
    return took


def load_beside_tar(engine: BenchEngine) -> float:
    """How many times as long as `tar -x` of the layers a load takes, one directly after the other."""
    target = engine.root / "untarred"
    target.mkdir()
    began = time.perf_counter()
    for layer in sorted((engine.root / "parts").glob("*/layer.tar")):
        subprocess.run(["tar", "-C", target, "-xf", layer], check=True)
    took = time.perf_counter() - began
    shutil.rmtree(target)
    return load(engine) / 1000 / took


def save(engine: BenchEngine) -> float:
    """A save to nowhere."""
    return seconds(engine, "save", _BIG)


def disk_used(engine: BenchEngine) -> float:
    """MiB on the disk that the loaded image takes."""

    def used() -> int:
        found = subprocess.run(["du", "-s", "-B1", engine.root / "d"], check=True, capture_output=True, text=True)
        return int(found.stdout.split()[0])

    before = used()
    engine.docker("load", "-q", "-i", str(engine.root / "big.tar"))
    after = used()
    engine.docker("rmi", _BIG)
    return (after - before) / 1024 / 1024


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    few = max(3, rounds // 4)
    return [
        Measure("load of 400 MB", "ms", 0.60, few, load, big_archive),
        Measure("load, times tar -x", "", None, few, load_beside_tar, big_archive),
        Measure("save of 400 MB", "ms", 0.70, few, save, big_image),
        Measure("images, 500 of them", "ms", 1.00, rounds, lambda engine: seconds(engine, "images"), many_images),
        Measure("disk used by 400 MB", "MiB", 1.00, 1, disk_used, big_archive),
    ]
