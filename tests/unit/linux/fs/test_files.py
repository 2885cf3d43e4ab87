from __future__ import annotations

import os
from pathlib import Path

from darse.linux.fs.files import measure


def test_files_count_once_and_links_not_at_all(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "one").write_bytes(b"x" * 100)
    (tree / "sub/two").write_bytes(b"x" * 11)
    os.link(tree / "one", tree / "sub/again")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/big").write_bytes(b"x" * 5000)
    (tree / "out").symlink_to(tmp_path / "outside")
    assert measure(tree).size == 100 + 11 + (tree / "out").lstat().st_size
