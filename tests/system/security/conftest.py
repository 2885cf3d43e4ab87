"""An engine that remaps containers' users, with subordinate ids that only it sees."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support.engine import Client, Engine, docker_program

E = TypeVar("E", bound=Engine)
FIRST, COUNT = 200000, 65536
_DISK = 256 << 20


class RemappingEngine(Engine):
    """An engine in a mount namespace in which `nobody` has subordinate ids, whatever the host's files say."""

    def __init__(self, *flags: str, root: Path | None = None) -> None:
        super().__init__(*flags, root=root)
        # Containers' root is nobody special on the host.
        self.root.chmod(0o711)
        self._files = [self.root / "subuid", self.root / "subgid"]
        for file in self._files:
            file.write_text(f"nobody:{FIRST}:{COUNT}\n")

    def command(self) -> list[str]:
        script = 'mount --bind "$0" /etc/subuid && mount --bind "$1" /etc/subgid && shift && exec "$@"'
        return [
            "unshare",
            "--mount",
            "--propagation",
            "slave",
            "sh",
            "-c",
            script,
            *map(str, self._files),
            *super().command(),
        ]


class ShiftingEngine(RemappingEngine):
    """One whose data root cannot be mounted with other ids, as none could before Linux 5.12: it is an ext3."""

    def __init__(self, *flags: str) -> None:
        super().__init__(*flags)
        self.data_root.mkdir()
        image = self.root / "ext3"
        with open(image, "wb") as file:
            file.truncate(_DISK)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext3", str(image)], check=True)
        mounted = subprocess.run(
            ["mount", "-t", "ext3", "-o", "loop", str(image), str(self.data_root)],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            shutil.rmtree(self.root)
            pytest.skip(f"this host mounts no ext3 from a file: {mounted.stderr.strip()}")

    def close(self, *, check: bool = True) -> None:
        """Take the disk away, too."""
        try:
            assert self.process is not None
            if self.process.poll() is None:
                self.remove_all()
                self.stop()
        finally:
            subprocess.run(["umount", str(self.data_root)], check=True)
        super().close(check=check)


class DefaultRemappingEngine(Engine):
    """An engine with an /etc of its own, which begins as the host's without the user that it may add."""

    def __init__(self) -> None:
        super().__init__("--userns-remap", "default")
        self.root.chmod(0o711)
        for name in ("upper", "work"):
            (self.root / name).mkdir()

    def command(self) -> list[str]:
        options = f"lowerdir=/etc,upperdir={self.root}/upper,workdir={self.root}/work"
        without = f"test -e {self.root}/upper/passwd || userdel dockremap 2>/dev/null"
        script = f'mount -t overlay overlay -o "$0" /etc && {{ {without}; exec "$@"; }}'
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, options, *super().command()]


@contextmanager
def up(engine: E) -> Iterator[E]:
    """Start an engine, and end it with all that is left of it."""
    try:
        engine.up()
        yield engine
    finally:
        engine.close()


@contextmanager
def emptied(engine: E) -> Iterator[E]:
    """An engine that runs, for one test; its containers and images go afterwards."""
    if engine.process is None or engine.process.poll() is not None:
        engine.up()
    yield engine
    engine.remove_all()


@pytest.fixture(scope="session", params=[RemappingEngine, ShiftingEngine], ids=["id-mapped", "on-disk"])
def session_remapping(request: pytest.FixtureRequest) -> Iterator[RemappingEngine]:
    """One for all tests of a process, for each of the ways in which files get containers' owners."""
    with up(request.param("--userns-remap", "nobody:nogroup")) as engine:
        yield engine


@pytest.fixture
def remapping(session_remapping: RemappingEngine) -> Iterator[RemappingEngine]:
    """The same, emptied after the test."""
    with emptied(session_remapping) as engine:
        yield engine


@pytest.fixture(params=["docker", "darse"])
def remapped(request: pytest.FixtureRequest, remapping: RemappingEngine) -> Client:
    """Each of the two commands, bound to it."""
    if request.param == "docker" and docker_program() is None:
        pytest.skip("docker's client is not installed")
    client: Client = getattr(remapping, request.param)
    return client
