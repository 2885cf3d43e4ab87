"""A small disk that tests fill: an ext4 file system in a file, on a loop device."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MIB = 1 << 20


class SmallDisk:
    """A mounted file system of its own. `fill` and `fill_inodes` leave nothing; `free` gives all of it back."""

    def __init__(self, mount: Path, image: Path) -> None:
        self.mount = mount
        self._image = image
        self._ballast = mount / "ballast"

    def fill(self) -> None:
        """Take every block: not one byte is left, not even to root."""
        self._ballast.mkdir(exist_ok=True)
        with open(self._ballast / "blocks", "ab") as file:
            # Blocks that are just being freed come back with the next commit of the journal.
            for _ in range(3):
                for piece in (_MIB, 64 << 10, 4 << 10, 1 << 10):
                    self._allocate(file.fileno(), piece)
                os.sync()

    @staticmethod
    def _allocate(descriptor: int, piece: int) -> None:
        try:
            while True:
                os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def fill_inodes(self) -> None:
        """Take every inode."""
        self._ballast.mkdir(exist_ok=True)
        for number in range(1 << 20):
            try:
                (self._ballast / str(number)).touch()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return

    def free(self) -> None:
        """Give back what was filled."""
        shutil.rmtree(self._ballast, ignore_errors=True)
        os.sync()

    def fail(self) -> None:
        """Have the kernel find an error: with mkfs.ext4's `-e remount-ro` it makes the file system read-only."""
        device = os.stat(self.mount).st_dev
        name = os.path.basename(os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("a test")

    def repair(self) -> None:
        """Mount it anew, after a check. (A copy: other mount namespaces may hold the old one.)"""
        subprocess.run(["umount", self.mount], check=True)
        copy = self._image.with_name("repaired")
        subprocess.run(["cp", "--sparse=always", self._image, copy], check=True)
        subprocess.run(["e2fsck", "-fy", copy], check=False, capture_output=True)
        subprocess.run(["mount", "-o", "loop", copy, self.mount], check=True)

    def remount(self, option: str) -> None:
        """Change the mount: `ro` or `rw`."""
        subprocess.run(["mount", "-o", f"remount,{option}", self.mount], check=True)


@contextmanager
def small_disk(
    mount: Path, mebibytes: int = 64, *options: str, mounted: str = "", lacking: str = ""
) -> Iterator[SmallDisk]:
    """Mount a new file system; `options` are mkfs.ext4's. It is gone afterwards, whatever has happened on it.

    mounted: options of the mount.
    lacking: what the kernel has not that cannot mount it, for a skip.

    Skips the test where the host cannot.
    """
    missing = [one for one in ("mkfs.ext4", "mount") if shutil.which(one) is None]
    if missing or not Path("/dev/loop-control").exists():
        pytest.skip(f"no {missing[0]}" if missing else "no loop devices")
    image = Path(tempfile.mkdtemp(prefix="dz-disk-", dir="/var/tmp")) / "disk"
    try:
        with open(image, "wb") as file:
            file.truncate(mebibytes * _MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", *options, image], check=True)
        mount.mkdir(parents=True, exist_ok=True)
        # The loop device goes with its last mount.
        command = ["mount", "-o", ",".join(["loop", *filter(None, [mounted])]), image, mount]
        if subprocess.run(command, check=not lacking, capture_output=bool(lacking)).returncode != 0:
            pytest.skip(f"no {lacking}")
        try:
            yield SmallDisk(mount, image)
        finally:
            if subprocess.run(["umount", mount], check=False, capture_output=True).returncode != 0:
                subprocess.run(["umount", "-l", mount], check=False)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(image.parent)
