"""Subpaths of volumes, whose names a container controls, held for a start."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter
from darse.runtime.oci.mounts import BindMount
from darse.runtime.rootfs import bind_sources


def test_a_subpath_that_is_removed_as_it_is_bound_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "volume/sub").mkdir(parents=True)

    def bind(_: int, target: str) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), target)

    monkeypatch.setattr(bind_sources, "bind_descriptor", bind)
    mount = BindMount(str(tmp_path / "volume"), "/v", writable=True, propagation="rprivate", subpath="sub")
    with pytest.raises(InvalidParameter, match=r"^cannot access path .*/volume/sub: no such file or directory$"):
        bind_sources.pin_subpaths([mount], tmp_path)
