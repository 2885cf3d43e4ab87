"""Builds by BuildKit's own client, `buildctl`, on darsed's socket and on buildkitd's (with runc, its OCI worker).

Both are asked in one run, in turns. The base image comes from an OCI layout at the client, for buildkitd has no image
store; its processes have the host's network, darsed's a bridge each. `make clients` builds both programs.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.builds import _FILES, _steps
from bench.engines import BenchEngine
from bench.measure import IMAGE

_CLIENTS = Path(os.environ.get("DARSE_CLIENTS_CACHE", "~/.cache/darse-clients")).expanduser() / "bin"
_READY_SECONDS = 60
_LEAST_ROUNDS = 3


class _Builder:
    """A daemon that buildctl asks."""

    def __init__(self, name: str, address: str, directory: Path, program: str) -> None:
        self.name = name
        self._address = address
        self._directory = directory
        self._program = program

    def build(self, context: Path, *arguments: str) -> float:
        """How long a build of a directory takes, in milliseconds."""
        layout = self._directory / "layout"
        digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
        base = ("--oci-layout", f"base={layout}", "--opt", f"context:{IMAGE}=oci-layout://base@{digest}")
        command = [
            *(self._program, "--addr", self._address, "build", "--progress", "plain", "--frontend", "dockerfile.v0"),
            *("--local", f"context={context}", "--local", f"dockerfile={context}", *base, *arguments),
        ]
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        took = time.perf_counter() - began
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: {done.stdout.decode(errors='replace')[-2000:]}")
        return took * 1000


def _answers(buildctl: str, address: str) -> bool:
    command = [buildctl, "--addr", address, "debug", "workers"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def _buildkitd(program: str, buildctl: str, directory: Path) -> Iterator[str]:
    """Its address, for the block."""
    address = f"unix://{directory}/buildkitd.sock"
    root = directory / "root"
    worker = ("--oci-worker=true", "--containerd-worker=false", "--oci-worker-net=host", "--oci-worker-gc=false")
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--root", str(root), "--addr", address, *worker], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            end = time.monotonic() + _READY_SECONDS
            while not _answers(buildctl, address):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"buildkitd does not start: {(directory / 'log').read_text()[-2000:]}")
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            process.wait()


def _contexts(directory: Path) -> tuple[Path, Path]:
    """That of many steps, and that of many files."""
    steps, files = directory / "steps", directory / "files"
    steps.mkdir()
    (steps / "Dockerfile").write_text(_steps())
    for number in range(6):
        (steps / f"part{number}").write_bytes(random.Random(number).randbytes(10_000))
    files.mkdir()
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY . /src\n")
    chance = random.Random(3)
    for number in range(_FILES):
        path = files / f"d{number // 100}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(chance.randbytes(2000))
    return steps, files


def buildkit(engine: BenchEngine, rounds: int) -> bool:
    """Measure, and print a table; whether the targets are met. Without the programs nothing is measured."""
    found = [shutil.which(name, path=os.pathsep.join([str(_CLIENTS), os.environ["PATH"]])) for name in _PROGRAMS]
    missing = [name for name, program in zip(_PROGRAMS, found, strict=True) if program is None]
    if missing:
        print(f"\n{' and '.join(missing)} are not there (make clients): BuildKit is not measured")
        return True
    buildctl, buildkitd, _ = (str(program) for program in found)
    directory = Path(tempfile.mkdtemp(prefix="bk-", dir=engine.root))
    (directory / "image.tar").write_bytes(engine.save(IMAGE))
    with tarfile.open(directory / "image.tar") as archive:
        archive.extractall(directory / "layout")
    steps, files = _contexts(directory)
    with _buildkitd(buildkitd, buildctl, directory) as address:
        builders = [
            _Builder("darsed", f"unix://{engine.socket}", directory, buildctl),
            _Builder("buildkitd", address, directory, buildctl),
        ]
        print(f"\n{'buildctl build':<34}{'darsed':>12}{'buildkitd':>12}{'ratio':>8}{'target':>8}")
        few = max(_LEAST_ROUNDS, rounds // 4)
        met = [
            _compared(builders, "20 steps, cold", 0.7, few, lambda one: one.build(steps, "--no-cache")),
            _compared(builders, "20 steps, cached", 0.7, few, lambda one: one.build(steps)),
            _compared(builders, "20,000 files as before", 0.5, few, lambda one: one.build(files)),
        ]
    return all(met)


_PROGRAMS = ("buildctl", "buildkitd", "runc")


def _compared(
    builders: list[_Builder], name: str, target: float, rounds: int, take: Callable[[_Builder], float]
) -> bool:
    """Measure both in turns, after a first time that is not counted; print a line."""
    for one in builders:
        take(one)
    taken = [[take(one) for one in builders] for _ in range(rounds)]
    own, other = (statistics.median(column) for column in zip(*taken, strict=True))
    print(f"{name:<34}{own:>9.0f} ms{other:>9.0f} ms{own / other:>8.2f}{target:>8.2f}", flush=True)
    return own / other <= target
