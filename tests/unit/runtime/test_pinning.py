"""Subpaths of volumes, whose names a container controls, held for a start."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from darse.engine.errors import InvalidParameter
from darse.runtime import pinning
from darse.runtime.container_mounts import BindMount


def test_a_subpath_that_is_removed_as_it_is_bound_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "volume/sub").mkdir(parents=True)

    def bind(_: int, target: str) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), target)

    monkeypatch.setattr(pinning, "bind_descriptor", bind)
    mount = BindMount(str(tmp_path / "volume"), "/v", writable=True, propagation="rprivate", subpath="sub")
    with pytest.raises(InvalidParameter, match=r"^cannot access path .*/volume/sub: no such file or directory$"):
        pinning.pin_subpaths([mount], tmp_path)
