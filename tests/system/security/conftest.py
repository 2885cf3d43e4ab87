"""An engine that remaps containers' users, with subordinate ids that only it sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import Client, Engine, docker_program

FIRST, COUNT = 200000, 65536


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


class DefaultRemappingEngine(Engine):
    """An engine with an /etc of its own, which begins as the host's: it may add a user."""

    def __init__(self) -> None:
        super().__init__("--userns-remap", "default")
        self.root.chmod(0o711)
        for name in ("upper", "work"):
            (self.root / name).mkdir()

    def command(self) -> list[str]:
        options = f"lowerdir=/etc,upperdir={self.root}/upper,workdir={self.root}/work"
        script = 'mount -t overlay overlay -o "$0" /etc && exec "$@"'
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, options, *super().command()]


@pytest.fixture(scope="session")
def session_remapping() -> Iterator[RemappingEngine]:
    """One for all tests of a process."""
    engine = RemappingEngine("--userns-remap", "nobody:nogroup")
    engine.up()
    yield engine
    engine.close()


@pytest.fixture
def remapping(session_remapping: RemappingEngine) -> Iterator[RemappingEngine]:
    """The same, emptied after the test."""
    if session_remapping.process is None or session_remapping.process.poll() is not None:
        session_remapping.up()
    yield session_remapping
    session_remapping.remove_all()


@pytest.fixture(params=["docker", "darse"])
def remapped(request: pytest.FixtureRequest, remapping: RemappingEngine) -> Client:
    """Each of the two commands, bound to it."""
    if request.param == "docker" and docker_program() is None:
        pytest.skip("docker's client is not installed")
    client: Client = getattr(remapping, request.param)
    return client
