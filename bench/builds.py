"""Builds: many steps, cached ones, large contexts, stages beside each other, and what writing a layer takes.

Both engines are asked by docker's client in the classic protocol, since dockerd 20.10 has no other without buildx;
contexts are sent by our own command, too, which is compared with docker's client at dockerd.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engines import BenchEngine, Darsed
from bench.images import sizes_of_files
from bench.measure import IMAGE, Measure

_STEPS = 20
_FILES = 20_000
_STAGES, _STAGE_SECONDS = 4, 5
_LAYER_FILES, _LAYER_BYTES = 17_000, 400_000_000


def _docker_build(engine: BenchEngine, *arguments: str) -> float:
    """How long docker's client takes to build in the classic way, in milliseconds."""
    return _timed(["docker", "build", *arguments], {**engine.environment, "DOCKER_BUILDKIT": "0"}, engine.name)


def _own_build(engine: BenchEngine, *arguments: str) -> float:
    """As `_docker_build`; darsed is asked by our own command."""
    if not isinstance(engine, Darsed):
        return _docker_build(engine, *arguments)
    return _timed([engine.darse, "build", *arguments], engine.darse_environment, engine.name)


def _timed(command: list[str], environment: dict[str, str], name: str) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {' '.join(command)}: {done.stdout.decode(errors='replace')[-2000:]}")
    return took * 1000


def _directory(engine: BenchEngine) -> Path:
    return engine.root / "context"


@contextmanager
def _context(engine: BenchEngine, dockerfile: str) -> Iterator[Path]:
    directory = _directory(engine)
    directory.mkdir()
    (directory / "Dockerfile").write_text(dockerfile)
    yield directory
    shutil.rmtree(directory)
    engine.docker("image", "prune", "-f")


def _steps() -> str:
    """As many steps as a usual Dockerfile of a service has many times over: half of them run something."""
    lines = [f"FROM {IMAGE}", "WORKDIR /app", "ENV MODE=production", "COPY part0 /app/part0"]
    for number in range(1, 6):
        lines += [f"RUN echo {number} >/app/made{number}", f"COPY part{number} /app/part{number}"]
    lines += [f"RUN mkdir -p /srv/{number}" for number in range(4)]
    return "\n".join([*lines, "EXPOSE 80", 'CMD ["true"]']) + "\n"


@contextmanager
def many_steps(engine: BenchEngine) -> Iterator[None]:
    """A context for the Dockerfile with twenty steps, built once."""
    with _context(engine, _steps()) as directory:
        for number in range(6):
            (directory / f"part{number}").write_bytes(random.Random(number).randbytes(10_000))
        _docker_build(engine, "-t", "bench/steps", str(directory))
        yield


def cold(engine: BenchEngine) -> float:
    """All steps, anew."""
    return _docker_build(engine, "--no-cache", "-t", "bench/steps", str(_directory(engine)))


def cached(engine: BenchEngine) -> float:
    """No step: all is in the cache."""
    return _docker_build(engine, "-t", "bench/steps", str(_directory(engine)))


@contextmanager
def large_context(engine: BenchEngine) -> Iterator[None]:
    """Twenty thousand files of two kilobytes, a hundred to a directory, built once."""
    with _context(engine, f"FROM {IMAGE}\nCOPY . /src\n") as directory:
        chance = random.Random(3)
        for number in range(_FILES):
            path = directory / f"d{number // 100}" / f"f{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(chance.randbytes(2000))
        _docker_build(engine, "-t", "bench/context", str(directory))
        if isinstance(engine, Darsed):
            _own_build(engine, "-t", "bench/context", str(directory))
        yield


def _unchanged(build: Callable[..., float]) -> Callable[[BenchEngine], float]:
    return lambda engine: build(engine, "-t", "bench/context", str(_directory(engine)))


def _one_changed(build: Callable[..., float]) -> Callable[[BenchEngine], float]:
    def take(engine: BenchEngine) -> float:
        (_directory(engine) / "d7" / "f777").write_bytes(os.urandom(2000))
        return build(engine, "-t", "bench/context", str(_directory(engine)))

    return take


@contextmanager
def independent_stages(engine: BenchEngine) -> Iterator[None]:
    """A Dockerfile with stages that do not need each other."""
    stages = [f"FROM {IMAGE} AS s{number}\nRUN sleep {_STAGE_SECONDS}; echo >/made" for number in range(_STAGES)]
    copies = [f"COPY --from=s{number} /made /made{number}" for number in range(_STAGES)]
    with _context(engine, "\n".join([*stages, f"FROM {IMAGE}", *copies]) + "\n"):
        yield


def stages(engine: BenchEngine) -> float:
    """All of them, anew."""
    return _docker_build(engine, "--no-cache", "-t", "bench/stages", str(_directory(engine)))


@contextmanager
def layer_files(engine: BenchEngine) -> Iterator[None]:
    """The files of a large layer, in an image and beside it."""
    with _context(engine, f"FROM {IMAGE}\nCOPY tree /tree\n") as directory:
        chance = random.Random(5)
        for number, size in enumerate(sizes_of_files(_LAYER_FILES, _LAYER_BYTES)):
            path = directory / "tree" / f"d{number // 100}" / f"f{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            # A half of it can be compressed, as of programs and libraries.
            path.write_bytes(chance.randbytes(size // 2) + bytes(size - size // 2))
        _docker_build(engine, "-t", "bench/layer-source", str(directory))
        (engine.root / "layer").mkdir()
        (engine.root / "layer" / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY --from=bench/layer-source /tree /tree\n")
        yield
        shutil.rmtree(engine.root / "layer")
        engine.docker("rmi", "bench/layer-source", "bench/layer")


def layer_beside_tar(engine: BenchEngine) -> float:
    """How many times as long as `tar | gzip -1` of its files an image with a new layer takes, one after the other."""
    os.sync()
    began = time.perf_counter()
    with open(engine.root / "layer.tar.gz", "wb") as target:
        source = subprocess.Popen(["tar", "-C", _directory(engine), "-c", "tree"], stdout=subprocess.PIPE)
        subprocess.run(["gzip", "-1"], stdin=source.stdout, stdout=target, check=True)
        source.wait()
    took = (time.perf_counter() - began) * 1000
    os.sync()
    return _docker_build(engine, "--no-cache", "-t", "bench/layer", str(engine.root / "layer")) / took


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    few = max(3, rounds // 4)
    docker, own = _docker_build, _own_build
    return [
        Measure(f"build, {_STEPS} steps, cold", "ms", 0.40, few, cold, many_steps),
        Measure(f"build, {_STEPS} steps, cached", "ms", 0.40, few, cached, many_steps),
        Measure("build, 20,000 files as before", "ms", 0.30, few, _unchanged(docker), large_context),
        Measure("build, one of them changed", "ms", 0.40, few, _one_changed(docker), large_context),
        Measure("darse build, as before", "ms", 0.30, few, _unchanged(own), large_context),
        Measure("darse build, one changed", "ms", 0.40, few, _one_changed(own), large_context),
        Measure(f"build, {_STAGES} stages of {_STAGE_SECONDS} s", "ms", 0.35, 2, stages, independent_stages),
        Measure("layer, times tar | gzip -1", "", 1.00, 3, layer_beside_tar, layer_files, alone=True),
    ]
