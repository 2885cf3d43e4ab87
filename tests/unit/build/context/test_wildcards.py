"""Wildcards of COPY and ADD on a tree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import re2

from darse.build.context.wildcards import PathNotFound, matching_paths


def found(root: Path, pattern: str) -> Sequence[str]:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return list(matching_paths(descriptor, pattern))
    finally:
        os.close(descriptor)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("src/a.c", "src/b.c", "src/deep/c.c", "a[1]", "a1", "-", "x.y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("src/*.c", ["/src/a.c", "/src/b.c"]),
        ("*/*.c", ["/src/a.c", "/src/b.c"]),
        ("src/?.c", ["/src/a.c", "/src/b.c"]),
        ("src/[b-z].c", ["/src/b.c"]),
        ("src/[^b].c", ["/src/a.c"]),
        ("a[1]", ["/a1"]),
        ("a\\[1*", ["/a[1]"]),
        ("x.*", ["/x.y"]),
        ("x?y", ["/x.y"]),
        ("nothing/*", []),
    ],
)
def test_which_paths_match(root: Path, pattern: str, paths: Sequence[str]) -> None:
    assert found(root, pattern) == paths


def test_no_program_outlives_its_search(root: Path) -> None:
    found(root, "s*/[a-c].c")
    with pytest.raises(PathNotFound, match="syntax error in pattern"):
        found(root, "*[z-a]")
    assert re2._Regexp._make.cache_info().currsize == 0
