from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from darse.linux.fs.inode_flags import spread_subdirectories


def _file_system(path: Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("lsattr") is None, reason="lsattr (e2fsprogs) is not installed")
def test_a_directory_has_the_flag_afterwards_and_keeps_its_others(tmp_path: Path) -> None:
    if _file_system(tmp_path) != "ext2/ext3":
        pytest.skip(f"{tmp_path} is on no ext4")

    def flags() -> set[str]:
        done = subprocess.run(["lsattr", "-d", str(tmp_path)], capture_output=True, text=True, check=True)
        return set(done.stdout.split()[0].replace("-", ""))

    subprocess.run(["chattr", "+d", str(tmp_path)], check=True)
    before = flags()
    assert "d" in before
    assert spread_subdirectories(tmp_path)
    assert spread_subdirectories(tmp_path)
    assert flags() == before | {"T"}


def test_a_file_system_without_the_flag_is_fine() -> None:
    if not os.path.ismount("/dev/shm"):
        pytest.skip("there is no tmpfs at /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        assert not spread_subdirectories(Path(directory))
        assert Path(directory).is_dir()


def test_other_faults_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spread_subdirectories(tmp_path / "missing")
