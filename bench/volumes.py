"""Volumes: made and removed, many of them in one container, filled from an image, copied."""

from __future__ import annotations

import http.client
import io
import itertools
import json
import os
import random
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from bench.engines import BenchEngine, Darsed
from bench.measure import IMAGE, Measure, remove_all, seconds

_MOUNTS = 20
_FILES = 10_000
_TREE = "bench-tree"
_BYTES = 1_000_000_000
_CLONED = "bench-large"
_connections: dict[str, http.client.HTTPConnection] = {}
_numbers = itertools.count()


def create_and_rm(engine: BenchEngine) -> float:
    """A volume is made and removed, by two commands."""
    return seconds(engine, "volume", "create", "bench-one") + seconds(engine, "volume", "rm", "bench-one")


@contextmanager
def a_connection(engine: BenchEngine) -> Iterator[None]:
    """What `by_api` asks over, without a client's start and end."""
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(engine.socket))
    _connections[engine.name] = connection
    yield
    _connections.pop(engine.name).close()


def by_api(engine: BenchEngine) -> float:
    """The same by two requests on one connection. No name comes twice: most volumes have one that is new."""
    name = f"bench-{next(_numbers)}"
    began = time.perf_counter()
    _ask(engine, "POST", "/v1.40/volumes/create", json.dumps({"Name": name}))
    _ask(engine, "DELETE", f"/v1.40/volumes/{name}")
    return (time.perf_counter() - began) * 1000


def _ask(engine: BenchEngine, method: str, path: str, body: str | None = None) -> None:
    connection = _connections[engine.name]
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    text = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{engine.name}: {method} {path}: {response.status} {text.decode()}")


@contextmanager
def twenty_volumes(engine: BenchEngine) -> Iterator[None]:
    """The volumes that `with_mounts` mounts."""
    names = [f"bench-{number}" for number in range(_MOUNTS)]
    for name in names:
        engine.docker("volume", "create", name)
    yield
    engine.docker("volume", "rm", *names)


def with_mounts(engine: BenchEngine) -> float:
    """A run with twenty of them."""
    options = [word for number in range(_MOUNTS) for word in ("-v", f"bench-{number}:/m{number}")]
    return seconds(engine, "run", "--rm", *options, IMAGE, "true")


@cache
def _archive() -> bytes:
    made, chance = io.BytesIO(), random.Random(1)
    with tarfile.open(fileobj=made, mode="w") as archive:
        for number in range(_FILES):
            member = tarfile.TarInfo(f"tree/d{number // 100}/f{number}")
            member.size, member.mode = 2000, 0o644
            archive.addfile(member, io.BytesIO(chance.randbytes(2000)))
    return made.getvalue()


@contextmanager
def an_image_of_many_files(engine: BenchEngine) -> Iterator[None]:
    """What `populate` copies."""
    engine.docker("import", "-", _TREE, data=_archive())
    yield
    engine.docker("rmi", _TREE)


def populate(engine: BenchEngine) -> float:
    """A creation that fills a new volume with ten thousand files."""
    took = seconds(engine, "create", "-v", "bench-filled:/tree", _TREE, "true")
    filled = engine.data_root / "volumes/bench-filled/_data"
    found = sum(len(files) for _, _, files in os.walk(filled))
    if found != _FILES:
        raise RuntimeError(f"{engine.name}: {found} files of {_FILES}")
    remove_all(engine)
    engine.docker("volume", "rm", "bench-filled")
    return took


@contextmanager
def a_large_volume(engine: BenchEngine) -> Iterator[None]:
    """A volume with a file of a gigabyte."""
    engine.docker("volume", "create", _CLONED)
    chance = random.Random(1)
    with open(engine.data_root / "volumes" / _CLONED / "_data/large", "wb") as file:
        for _ in range(_BYTES // 1_000_000):
            file.write(chance.randbytes(1_000_000))
    os.sync()
    yield
    engine.docker("volume", "rm", _CLONED)


def clone(engine: BenchEngine) -> float:
    """Our own command; in dockerd's place `cp` of the same, flushed as a clone is."""
    volumes = engine.data_root / "volumes"
    if isinstance(engine, Darsed):
        environment = engine.darse_environment
        command = [engine.darse, "volume", "clone", _CLONED, "bench-copy"]
    else:
        environment = dict(os.environ)
        copy = 'cp -a --reflink=auto "$1" "$2" && sync -f "$2"'
        command = ["sh", "-c", copy, "sh", str(volumes / _CLONED), str(volumes.parent / "bench-copy")]
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - began
    if isinstance(engine, Darsed):
        engine.docker("volume", "rm", "bench-copy")
    else:
        subprocess.run(["rm", "-r", str(volumes.parent / "bench-copy")], check=True)
    os.sync()
    return took * 1000


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    few = max(3, rounds // 4)
    return [
        Measure("volume create and rm", "ms", 0.50, rounds, create_and_rm),
        Measure("volume create, rm by API", "ms", 0.50, rounds * 2, by_api, a_connection),
        Measure("volumes, 20 in a run --rm", "ms", 0.40, rounds, with_mounts, twenty_volumes),
        Measure("volume filled, 10,000 files", "ms", 0.70, few, populate, an_image_of_many_files),
        Measure("volume clone 1 GB, to cp -a", "ms", 1.00, few, clone, a_large_volume),
    ]
