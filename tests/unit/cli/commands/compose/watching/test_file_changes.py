"""Changes of files, told together."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from darse.cli.commands.compose.watching.file_changes import FileChanges, ignorer


def test_changes_of_files_and_of_new_directories(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "left").mkdir()
    (tmp_path / "one").write_text("1")

    async def watched() -> None:
        with FileChanges([str(tmp_path)], lambda path: path.endswith("/left")) as changes:
            batches = changes.batches()

            async def next_batch() -> set[str]:
                begun = time.monotonic()
                found = await asyncio.wait_for(anext(batches), 10)
                assert time.monotonic() - begun < 5
                return {str(Path(one).relative_to(tmp_path)) for one in found}

            (tmp_path / "one").write_text("2")
            (tmp_path / "left" / "two").write_text("2")
            assert await next_batch() == {"one"}
            (tmp_path / "new" / "deep").mkdir(parents=True)
            (tmp_path / "new" / "deep" / "three").write_text("3")
            found: set[str] = set()
            while "new/deep/three" not in found:
                found |= await next_batch()
            (tmp_path / "new" / "deep" / "three").unlink()
            assert await next_batch() == {"new/deep/three"}

    asyncio.run(watched())


def test_what_is_not_meant(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("*.log\n!kept.log\n")
    ignores = ignorer(str(tmp_path / "src"), ["node_modules/"], [], str(tmp_path))
    for path, expected in (
        ("src/app.py", False),
        ("src/node_modules", True),
        ("src/node_modules/a/b.js", True),
        ("src/.git/config", True),
        ("src/a.log", False),
        ("a.log", True),
    ):
        assert ignores(str(tmp_path / path)) is expected, path
    only = ignorer(str(tmp_path / "src"), [], ["*.py"], "")
    assert not only(str(tmp_path / "src" / "app.py"))
    assert only(str(tmp_path / "src" / "app.js"))
