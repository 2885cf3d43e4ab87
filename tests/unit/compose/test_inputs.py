"""Files that a project names are read in bounds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from darse.compose import dotenv
from darse.compose.errors import ComposeError
from darse.compose.inputs import read_bounded


def test_a_file_that_does_not_end_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", 1 << 40)
    for path in ("/dev/zero", str(tmp_path / "big")):
        with pytest.raises(OSError, match="File too large"):
            read_bounded(path)


def test_a_pipe_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"A=1\n")
        os.close(writing)
        assert read_bounded(f"/proc/self/fd/{reading}") == b"A=1\n"
    finally:
        os.close(reading)


@pytest.fixture
def unset() -> Callable[[str], None]:
    return lambda name: None


def test_what_is_wrong_with_a_file_of_variables_is_said_in_words(unset: Callable[[str], None], tmp_path: Path) -> None:
    with pytest.raises(ComposeError, match=r"^couldn't read env file: /dev/zero: file too large$"):
        dotenv.read_files(["/dev/zero"], {}, unset)
    (tmp_path / "env").write_bytes(b"A=1\r\nB=2\rC=3")
    assert dotenv.read_files([str(tmp_path / "env")], {}, unset) == {"A": "1", "B": "2", "C": "3"}
