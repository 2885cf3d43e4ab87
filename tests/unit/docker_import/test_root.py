"""What is damaged in a data root is refused where it is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter
from darse.docker_import.root import DockerRoot


@pytest.fixture
def root(tmp_path: Path) -> DockerRoot:
    (tmp_path / "image/overlay2").mkdir(parents=True)
    (tmp_path / "volumes").mkdir()
    return DockerRoot(tmp_path)


def test_a_document_of_a_terabyte_is_not_read(root: DockerRoot) -> None:
    path = root.path / "image/overlay2/repositories.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(InvalidParameter, match="it has more than 16 MB"):
        root.names()


@pytest.mark.parametrize("name", ["L" * 5000, "../containers", "..", "", "a\0b", "a/b"])
def test_a_path_is_made_of_the_names_of_volumes_only(root: DockerRoot, name: str) -> None:
    with pytest.raises(InvalidParameter, match="volume name"):
        root.volume(name, b"{}")


def test_a_file_in_the_place_of_a_directory_cannot_be_read(root: DockerRoot) -> None:
    (root.path / "containers").write_text("none")
    with pytest.raises(InvalidParameter, match="containers cannot be read: not a directory"):
        root.container_ids()
