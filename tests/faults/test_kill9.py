"""kill -9 of the engine at random instants: nothing lost, nothing left.

`DARSE_FAULT_SEED` repeats a run; the seed is printed.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
from collections.abc import Callable

import pytest
from tests.faults.crashes import Crasher
from tests.support.engine import BUSYBOX, Engine

KINDS = [
    "create",
    "start",
    "running",
    "exec",
    "stop",
    "rm",
    "rm -f",
    "load",
    "run",
    "volume",
    "network",
    "cp",
    "commit",
    "kill",
    "restart",
    "pause",
    "rename",
    "update",
    "restart policy",
    "container prune",
    "save",
    "import",
    "tag",
    "volume rm",
    "volume rm, empty",
    "volume prune",
    "network rm",
    "network connect",
]
STORE_KINDS = ["load", "rmi", "image prune"]


def crash(engine: Engine, kinds: list[str], count: int, tell: Callable[[str], None]) -> None:
    """Crash `count` times, going round the kinds; tell what was done."""
    seed = int(os.environ.get("DARSE_FAULT_SEED") or random.SystemRandom().getrandbits(32))
    crasher = Crasher(engine, seed, archive_of_an_image(engine))
    try:
        for number in range(count):
            crasher.crash_in(kinds[number % len(kinds)])
    finally:
        tell(f"kill -9: {crasher.report}; DARSE_FAULT_SEED={seed}")


def archive_of_an_image(engine: Engine) -> bytes:
    """An image of two layers named test/loaded:1, as `docker save` writes it, compressed."""
    engine.docker("run", "--name", "base", BUSYBOX, "true").ok()
    engine.docker("rm", "base").ok()
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as made:
        for name, content in (("loaded", b"yes\n"), ("large", random.Random(0).randbytes(3_000_000))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
        busybox = tarfile.TarInfo("bin/busybox")
        with open("/bin/busybox", "rb") as program:
            binary = program.read()
        busybox.size, busybox.mode = len(binary), 0o755
        made.addfile(busybox, io.BytesIO(binary))
        for applet in ("sh", "cat"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            made.addfile(link)
    engine.docker("import", "-", "test/loaded:1", input=layer.getvalue()).ok()
    archive = engine.docker("save", "test/loaded:1").ok().raw
    engine.docker("rmi", "-f", "test/loaded:1").ok()
    return gzip.compress(archive, 1)


@pytest.mark.parametrize("half", [0, 1])
def test_some_crashes(new_engine, tell, half: int) -> None:
    """The short form of every test run: each kind once, each half of them in a process of its own."""
    crash(new_engine(), KINDS[half::2], len(KINDS[half::2]), tell)


def test_some_crashes_of_the_store(new_engine, tell) -> None:
    """Images come and go; after each crash `system check` finds nothing."""
    crash(new_engine(), STORE_KINDS, 9, tell)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_many_crashes_of_the_store(new_engine, tell) -> None:
    crash(new_engine(), STORE_KINDS, int(os.environ.get("DARSE_FAULT_COUNT", "300")), tell)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
def test_many_crashes(new_engine, tell, part: int) -> None:
    crash(new_engine(), KINDS[part::4], int(os.environ.get("DARSE_FAULT_COUNT", "1250")), tell)
