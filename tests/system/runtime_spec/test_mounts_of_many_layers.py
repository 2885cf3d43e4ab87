"""Overlays of as many layers as an image may have: mount(2) takes one page of options."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.linux.fs.mounts import MOST_LAYERS, NamespaceThreads, mount_layers, mount_overlay


@pytest.mark.parametrize("is_writable", [False, True])
async def test_an_overlay_of_many_layers(tmp_path: Path, *, is_writable: bool) -> None:
    layers, target = [], tmp_path / "target"
    for number in range(MOST_LAYERS + (not is_writable)):
        layer = tmp_path / "a-name-as-long-as-those-of-layers-are" / str(number)
        layer.mkdir(parents=True)
        (layer / str(number)).touch()
        layers.append(str(layer))
    for name in ("target", "upper", "work"):
        (tmp_path / name).mkdir()
    threads = NamespaceThreads(1)

    def files() -> tuple[list[str], bool]:
        before = os.getcwd()
        with threads.private_mounts():
            if is_writable:
                mount_overlay(layers, str(tmp_path / "upper"), str(tmp_path / "work"), str(target))
            else:
                mount_layers(layers, str(target))
            return os.listdir(target), os.getcwd() == before

    try:
        found, is_back = await threads.run(files)
    finally:
        threads.close()
    assert sorted(found, key=int) == [str(number) for number in range(len(layers))]
    assert is_back
