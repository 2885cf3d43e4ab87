"""Keys and agents of SSH, for builds that forward them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.files import write_files

_SSH = [name for name in ("ssh-agent", "ssh-add", "ssh-keygen") if shutil.which(name) is None]
needs_ssh = pytest.mark.skipif(bool(_SSH), reason=f"{', '.join(_SSH)} is not installed (Debian package openssh-client)")


def with_ssh_add(directory: Path, dockerfile: str) -> Path:
    """Write a Dockerfile, and this host's ssh-add with its libraries below `ssh`: it prints an agent's public keys."""
    program = shutil.which("ssh-add")
    assert program is not None
    listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    files = {word for word in listed.split() if word.startswith("/")} | {program}
    for file in files:
        target = directory / "ssh" / file.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return write_files(directory, {"Dockerfile": dockerfile})


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key without a passphrase."""
    path = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "comment-of-the-key", "-f", str(path)]
    subprocess.run(command, check=True)
    return path
