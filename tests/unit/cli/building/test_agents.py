"""Agents for keys live as long as the command."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

_MISSING = [name for name in ("ssh-agent", "ssh-add", "ssh-keygen") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(
    bool(_MISSING), reason=f"{', '.join(_MISSING)} is not installed (Debian package openssh-client)"
)
_COMMAND = """
import sys
from darse.cli.building.agents import Agents
with Agents([f"default={sys.argv[1]}"]) as agents:
    print(agents._sockets["default"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def command(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that has an agent for a key; it says the agent's socket."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    arguments = [sys.executable, "-c", _COMMAND, str(key)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    return subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
        return True


@pytest.mark.parametrize("killed", [False, True], ids=["ends", "is killed"])
def test_an_agent_ends_with_its_command(command: subprocess.Popen[str], killed: bool) -> None:
    with command:
        assert command.stdout is not None
        path = command.stdout.readline().strip()
        assert _answers(path)
        if killed:
            command.kill()
        else:
            command.communicate()
    wait_until(lambda: not _answers(path) and not os.path.exists(os.path.dirname(path)), 15, "an agent that has ended")
