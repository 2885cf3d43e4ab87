"""Steps carry commands that are whole: what a shell needs, with the paths themselves."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from darse.core import trace
from darse.linux.fs import mounts


def test_an_overlay_of_many_layers_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than mount(2) takes as text goes to the kernel as descriptors, and is shown as it is called."""
    asked: list[str] = []
    monkeypatch.setattr(mounts, "mount", lambda *arguments: asked.append(str(arguments[-1])))
    layers = []
    for number in range(60):
        layers.append(str(tmp_path / f"{number:064d}"))
        os.mkdir(layers[-1])
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    with trace.begin("start", "c") as operation:
        mounts.mount_overlay(layers, str(tmp_path / "upper"), str(tmp_path / "work"), "/target")
        mounts.mount_layers(layers, "/target")
    assert all(re.match(r"lowerdir=\d+(:\d+){59},", options) for options in asked)
    for step in operation.steps:
        assert f"lowerdir={':'.join(layers)}," in step.command[step.command.index("-o") + 1]
