"""Ten thousand attempts to be led outside by names that change while the engine follows them.

A process exchanges a directory of a volume with links to a directory of the host, as fast as the kernel does it, while
containers are made and started with mounts at, of and from that name, and while the volume is exported, copied and
measured. The directory of the host is neither read nor written; both the directory and the links have been met.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(3600)]

_ATTEMPTS = 2500
_AT_ONCE = 3
SECRET = "secret-of-the-host"
# renameat2(2) with RENAME_EXCHANGE. With `empty` what is put into the directory is thrown away again, and `met` made.
_SWAP = """
import ctypes, os, shutil, sys
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])
print("ready", flush=True)
while os.getppid() == int(sys.argv[2]):
    for link in (b"absolute", b"relative"):
        for _ in range(2):
            if libc.renameat2(-100, b"d", -100, link, 2) != 0:
                sys.exit(os.strerror(ctypes.get_errno()))
    if sys.argv[3] == "empty":
        for entry in list(os.scandir("d")):
            os.makedirs("met", exist_ok=True)
            shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
"""


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of the host, at a path that no container has."""
    directory = Path(f"/var/tmp/outside-{uuid.uuid4().hex}")
    directory.mkdir()
    (directory / SECRET).write_text("of the host")
    yield directory
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        assert str(directory) not in mounts.read()
    assert [path.name for path in directory.iterdir()] == [SECRET]
    (directory / SECRET).unlink()
    directory.rmdir()


@pytest.fixture
def swapped(engine: Engine, outside: Path) -> Iterator[Callable[[str], Path]]:
    """Begins the exchanges in a volume `racy`, whose directory it returns."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(how: str = "") -> Path:
        engine.docker("volume", "create", "racy").ok()
        data = engine.data_root / "volumes/racy/_data"
        (data / "d").mkdir()
        (data / "absolute").symlink_to(outside)
        (data / "relative").symlink_to("../" * 30 + str(outside).lstrip("/"))
        process = subprocess.Popen(
            [sys.executable, "-c", _SWAP, str(data), str(os.getpid()), how], stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return data

    yield begin
    for process in processes:
        assert process.poll() is None, "it has exchanged until the end"
        process.kill()
        process.communicate()


def _many(attempt: Callable[[int], object]) -> Counter[object]:
    """The outcomes of all attempts, some at the same time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return Counter(pool.map(attempt, range(_ATTEMPTS)))


def _run(engine: Engine, command: str, host: dict[str, object]) -> int:
    """What a container ends with; 125 when it cannot be made or started."""
    made = engine.api(
        "POST", "/containers/create", {"Image": BUSYBOX, "Cmd": ["sh", "-c", command], "HostConfig": host}
    )
    if made.status != 201:
        return 125
    container = made.json()["Id"]
    try:
        if engine.api("POST", f"/containers/{container}/start").status != 204:
            return 125
        return int(engine.api("POST", f"/containers/{container}/wait").json()["StatusCode"])
    finally:
        assert engine.api("DELETE", f"/containers/{container}?force=1&v=1").status == 204


def _subpath(target: str) -> dict[str, object]:
    options = {"Subpath": "d"}
    return {
        "NetworkMode": "none",
        "Mounts": [{"Type": "volume", "Source": "racy", "Target": target, "VolumeOptions": options}],
    }


def test_subpaths(engine: Engine, swapped: Callable[..., Path], tell: Callable[[str], None]) -> None:
    swapped()
    command = f"test -e /m/{SECRET} && exit 99; touch /m/written"
    seen = _many(lambda _: _run(engine, command, _subpath("/m")))
    tell(f"subpaths that are swapped for links: {dict(seen)}")
    assert set(seen) == {0, 125}


def test_targets(engine: Engine, swapped: Callable[..., Path], tell: Callable[[str], None]) -> None:
    """The place of one mount is inside another, which changes."""
    data = swapped()
    engine.docker("volume", "create", "inner").ok()
    command = f"test -e /v/d/{SECRET} && exit 99; test -d /v/d || test -L /v/d"

    def attempt(number: int) -> int:
        binds = ["racy:/v", f"inner:/v/d/at{number % 5}"]
        return _run(engine, command, {"NetworkMode": "none", "Binds": binds})

    seen = _many(attempt)
    tell(f"targets that are swapped for links: {dict(seen)}")
    assert 99 not in seen
    assert seen[0]
    assert any((data / name / f"at{number}").is_dir() for name in ("d", "absolute", "relative") for number in range(5))


def test_copy_up(engine: Engine, swapped: Callable[..., Path], tell: Callable[[str], None]) -> None:
    """What the image has is copied into a directory that changes; it is emptied all the time."""
    data = swapped("empty")

    def attempt(_: int) -> int:
        made = engine.api("POST", "/containers/create", {"Image": BUSYBOX, "HostConfig": _subpath("/etc")})
        if made.status == 201:
            assert engine.api("DELETE", f"/containers/{made.json()['Id']}").status == 204
        return made.status

    seen = _many(attempt)
    tell(f"copies of images into directories that are swapped for links: {dict(seen)}")
    assert set(seen) <= {201, 400, 500}
    assert (data / "met").is_dir(), "no copy met the directory"


def test_exports_and_copies(engine: Engine, swapped: Callable[..., Path], tell: Callable[[str], None]) -> None:
    swapped()

    def attempt(number: int) -> tuple[str, int]:
        what = ("archive", "usage?path=d", "usage", "clone")[number % 4]
        if what != "clone":
            answer = engine.api("GET", f"/darse/volumes/racy/{what}")
            assert SECRET.encode() not in answer.body
            assert b"of the host" not in answer.body
            return what, answer.status
        made = engine.api("POST", "/darse/volumes/racy/clone", {"Name": f"copy{number}"})
        copied = engine.data_root / f"volumes/copy{number}/_data"
        # Links are not followed by this walk.
        assert not any(SECRET in names for _, _, names in os.walk(copied))
        if made.status == 201:
            assert engine.api("DELETE", f"/volumes/copy{number}").status == 204
        return what, made.status

    seen = _many(attempt)
    tell(f"exports, measurements and copies of a volume that changes: {dict(seen)}")
    assert seen["archive", 200]
    assert seen["clone", 201]
    assert {status for _, status in seen} <= {200, 201, 400, 404, 500}
