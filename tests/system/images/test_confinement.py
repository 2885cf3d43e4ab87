"""The process that reads untrusted archives: what it can reach, and what it cannot."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from darse.archive import process
from darse.linux.pipes import wide_pipe

# Each must fail once the process has locked itself in. The word after the dash is what it may fail with.
ATTEMPTS = {
    "see the host's files": ("os.listdir('/proc')", "FileNotFoundError"),
    "leave by the parent": ("os.stat('../../../../etc/passwd')", "FileNotFoundError"),
    "leave by a descriptor of the old root": (
        "os.stat('etc/passwd', dir_fd=os.open('/', os.O_PATH))",
        "FileNotFoundError",
    ),
    "change the root": ("os.chroot('.')", "PermissionError"),
    "mount": ("call('mount', b'none', b'/', b'tmpfs', 0, None)", "PermissionError"),
    "make a namespace": ("call('unshare', 0x10000000)", "PermissionError"),
    "open a device": ("(os.mknod('disk', 0o60600, os.makedev(1, 0)), os.open('disk', os.O_RDONLY))", "PermissionError"),
    "open a character device": (
        "(os.mknod('null', 0o20600, os.makedev(1, 3)), os.open('null', os.O_RDONLY))",
        "PermissionError",
    ),
    "begin a process": ("os.fork()", "PermissionError"),
    "run a program": ("os.execv('/program', ['program'])", "PermissionError"),
    "open a socket": ("socket.socket(socket.AF_INET)", "PermissionError"),
    "open a socket of the host": ("socket.socket(socket.AF_UNIX)", "PermissionError"),
    "signal another": ("os.kill(1, 0)", "PermissionError"),
    "become another user": ("os.setuid(1)", "PermissionError"),
    "trace": ("call('ptrace', 16, 1, None, None)", "PermissionError"),
    "load a program into the kernel": ("call('syscall', 321, 0, None, 0)", "PermissionError"),
    "use keys": ("call('syscall', 250, 0, -1, 0)", "PermissionError"),
    "make an event ring": ("call('syscall', 425, 1, None)", "PermissionError"),
    "raise a limit": ("resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))", "PermissionError|ValueError"),
    "take all memory": ("bytes(2 << 30)", "MemoryError"),
    "open many files": ("[os.open('/', os.O_RDONLY) for _ in range(500)]", "OSError"),
}
ALLOWED = {
    "make what layers hold": "(os.mkdir('d'), os.mknod('n', 0o20600, 5), os.chown('n', 7, 7), os.symlink('a', 'b'))",
    "set attributes": "(os.mkdir('d'), os.setxattr('d', 'trusted.overlay.opaque', b'y'))",
    "start threads": "(_thread.start_new_thread(lambda: None, ()), time.sleep(0))",
}
PROGRAM = """
import _thread, os, resource, socket, sys, time
sys.path += sys.argv[1].split(":")
from darse.archive import worker
from darse.linux.proc import sandbox
from darse.linux.libc import call
sandbox.enter(sys.argv[2], worker._UNPACK, memory=1 << 30, open_files=256)
try:
    eval(sys.argv[3])
    answer = "done"
except BaseException as error:
    answer = type(error).__name__
os.write(1, answer.encode())
# As the worker: an interpreter that ends in order would look for libraries to end its threads with.
os._exit(0)
"""


def attempt(root: Path, what: str) -> str:
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, process.search_path(), str(root), what]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_worker_cannot(tmp_path: Path, name: str) -> None:
    what, error = ATTEMPTS[name]
    assert attempt(tmp_path, what) in error.split("|")


@pytest.mark.parametrize("name", ALLOWED)
def test_a_worker_can(tmp_path: Path, name: str) -> None:
    assert attempt(tmp_path, ALLOWED[name]) == "done"


async def test_a_worker_has_nothing_of_the_engine(tmp_path: Path) -> None:
    """Looked at from outside, while it waits for its archive."""
    os.environ["DARSE_TEST_SECRET"] = "secret"
    reading, writing = wide_pipe()
    recipe = os.open(tmp_path / "recipe", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    kept = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(kept, True)
    root = tmp_path / "fs"
    root.mkdir()
    try:
        worker = await process._start("unpack", root, ["size=-1"], reading, recipe)
        try:
            os.write(writing, b"\x1f\x8b\x08\0\0\0\0\0")
            proc = Path(f"/proc/{worker.pid}")
            async with asyncio.timeout(20):
                while "Seccomp:\t2" not in (status := (proc / "status").read_text()):
                    await asyncio.sleep(0.01)  # the kernel tells nobody when this changes
            assert "NoNewPrivs:\t1" in status
            capabilities = next(line for line in status.splitlines() if line.startswith("CapPrm:"))
            assert int(capabilities.split()[1], 16) == sum(1 << number for number in (0, 1, 3, 4, 21, 27, 31))
            assert "secret" not in (proc / "environ").read_text()
            links = {int(one.name): os.readlink(one) for one in (proc / "fd").iterdir()}
            assert not [link for link in links.values() if link == str(tmp_path)]
            assert len(links) <= 6
            (mount,) = (proc / "mountinfo").read_text().splitlines()
            assert {"nodev", "nosuid", "noexec"} <= set(mount.split()[5].split(","))
        finally:
            await worker.end()
    finally:
        del os.environ["DARSE_TEST_SECRET"]
        for descriptor in (reading, writing, recipe, kept):
            os.close(descriptor)
