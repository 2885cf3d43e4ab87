"""Where a copy goes: the table of docker's reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.cli.commands.containers import copy_paths
from darse.cli.commands.containers.copy_paths import CopyTarget, Place
from darse.cli.errors import CliError


@pytest.mark.parametrize(
    ("text", "container", "path"),
    [
        ("c:/a", "c", "/a"),
        ("c:a:b", "c", "a:b"),
        ("c:", "c", ""),
        ("/a:b", "", "/a:b"),
        ("./a:b", "", "./a:b"),
        ("../a:b", "", "../a:b"),
        ("a", "", "a"),
        ("-", "", "-"),
    ],
)
def test_arguments(text: str, container: str, path: str) -> None:
    assert copy_paths.split_argument(text) == (container, path)


FILE, DIRECTORY = Place("/src/f", True), Place("/src/d", True, True)
CONTENTS = Place("/src/d/.", True, True)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        # into a directory that is there
        (FILE, Place("/dst", True, True), CopyTarget("/dst")),
        (DIRECTORY, Place("/dst", True, True), CopyTarget("/dst")),
        (CONTENTS, Place("/dst", True, True), CopyTarget("/dst")),
        # over a file
        (FILE, Place("/dst/g", True), CopyTarget("/dst", "f", "g")),
        (DIRECTORY, Place("/dst/g", True), "cannot copy directory"),
        # to what is not there
        (FILE, Place("/dst/g"), CopyTarget("/dst", "f", "g")),
        (FILE, Place("/dst/g/"), "no such directory"),
        (FILE, Place("/dst/g/."), "no such directory"),
        (FILE, Place(""), "no such directory"),
        (DIRECTORY, Place("/dst/g"), CopyTarget("/dst", "d", "g")),
        (DIRECTORY, Place("/dst/g/"), CopyTarget("/dst", "d", "g")),
        (CONTENTS, Place("/dst/g"), CopyTarget("/dst", ".", "g")),
        (Place("/", True, True), Place("/dst/g"), CopyTarget("/dst", "", "g")),
        # a followed link keeps the name that was asked for
        (Place("/src/real", True, False, "link"), Place("/dst/g"), CopyTarget("/dst", "link", "g")),
    ],
)
def test_targets(source: Place, destination: Place, expected: CopyTarget | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(CliError, match=expected):
            copy_paths.target(source, destination)
    else:
        assert copy_paths.target(source, destination) == expected


def test_local_sources(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    (tmp_path / "link").symlink_to("f")
    assert copy_paths.local_source(f"{tmp_path}/d/.", follow=False) == Place(f"{tmp_path}/d/.", True, True)
    assert copy_paths.local_source(f"{tmp_path}/link", follow=False) == Place(f"{tmp_path}/link", True)
    assert copy_paths.local_source(f"{tmp_path}/link", follow=True) == Place(f"{tmp_path}/f", True, False, "link")
    with pytest.raises(CliError, match="no such file or directory"):
        copy_paths.local_source(f"{tmp_path}/none", follow=False)
    with pytest.raises(CliError, match="not a directory"):
        copy_paths.local_source(f"{tmp_path}/f/", follow=False)


def test_local_destinations(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d/new")
    (tmp_path / "loop").symlink_to("loop")
    assert copy_paths.local_destination(f"{tmp_path}/d") == Place(f"{tmp_path}/d", True, True)
    assert copy_paths.local_destination(f"{tmp_path}/link") == Place(f"{tmp_path}/d/new")
    with pytest.raises(CliError, match="no such file or directory"):
        copy_paths.local_destination(f"{tmp_path}/none/new")
    with pytest.raises(CliError, match="too many symlinks"):
        copy_paths.local_destination(f"{tmp_path}/loop")


def test_devices_are_no_destination() -> None:
    with pytest.raises(CliError, match="got a device"):
        copy_paths.check_output("/dev/null")
