"""What is left of execs that were made ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darse.containers.exec.pool import RECORD, clear, monitor_directory_of
from darse.linux.fs.contained import remove_tree


def test_the_record_of_one_that_a_client_has_created_stays(tmp_path: Path) -> None:
    bundle = monitor_directory_of(tmp_path, "e" * 64, "c" * 64)
    bundle.exits.mkdir(parents=True)
    for path in (bundle.directory / RECORD, bundle.config, bundle.exits / "0"):
        path.touch()
    clear(bundle)
    assert sorted(path.name for path in bundle.directory.iterdir()) == sorted((RECORD, bundle.exits.name))
    assert list(bundle.exits.iterdir()) == []


@pytest.mark.parametrize("listed", [1, 2])
def test_one_whose_container_is_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: int) -> None:
    bundle = monitor_directory_of(tmp_path, "e" * 64, "c" * 64)
    bundle.exits.mkdir(parents=True)
    for path in (bundle.directory / RECORD, bundle.config):
        path.touch()
    listing, count = Path.iterdir, iter(range(1, 9))

    def and_removed(path: Path) -> Iterator[Path]:
        if next(count) == listed:
            remove_tree(bundle.directory)
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", and_removed)
    clear(bundle)
    assert not bundle.directory.exists()
