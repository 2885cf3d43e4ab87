"""crane (go-containerregistry), unmodified: what the engine pushes it accepts, what it makes the engine pulls.

`make clients` builds it, where Go is installed.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clients import found
from tests.support.hub import Hub
from tests.support.registry import Registry

CRANE = found("crane")
pytestmark = pytest.mark.skipif(CRANE is None, reason="crane is not installed (go-containerregistry)")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


def crane(*arguments: str) -> str:
    return raw(*arguments).decode().strip()


def raw(*arguments: str) -> bytes:
    done = subprocess.run([str(CRANE), *arguments], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_pushed_is_valid(hub: Hub, registry: Registry) -> None:
    pushed = f"{registry.address}/made/alpine:1"
    hub.engine.docker("pull", "-q", "nginx:alpine").ok()
    hub.engine.docker("tag", "nginx:alpine", pushed).ok()
    said = hub.engine.docker("push", pushed).ok().out
    assert f"1: digest: {crane('digest', pushed)} size: " in said
    # Every layer is fetched; digests, sizes and diff ids are computed and compared.
    assert "PASS" in crane("validate", "--remote", pushed)
    layers = json.loads(hub.engine.docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", pushed).ok().out)
    assert json.loads(crane("config", pushed))["rootfs"]["diff_ids"] == layers


def test_what_was_pushed_is_exported(hub: Hub, registry: Registry) -> None:
    """The tree that crane puts together of our layers is the one that a container sees."""
    hub.have("busybox:latest")
    pushed = f"{registry.address}/made/busybox:2"
    hub.engine.docker("tag", "busybox", pushed).ok()
    hub.engine.docker("push", "-q", pushed).ok()
    hub.engine.docker("create", "--name", "made", pushed).ok()
    with (
        tarfile.open(fileobj=io.BytesIO(raw("export", pushed, "-"))) as theirs,
        tarfile.open(fileobj=io.BytesIO(hub.engine.docker("export", "made").ok().raw)) as ours,
    ):
        wanted = {(one.name.rstrip("/"), one.type, one.mode, one.size, one.linkname) for one in theirs}
        seen = {(one.name.rstrip("/"), one.type, one.mode, one.size, one.linkname) for one in ours}
    assert len(wanted) > 10
    # A container has files of its engine besides.
    assert wanted - seen == set()


def test_what_crane_made_runs(hub: Hub, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("kept\n")
    with tarfile.open(tmp_path / "layer.tar", "w") as layer:
        layer.add(tmp_path / "note", "note")
    base = f"{hub.registry.address}/library/busybox:latest"
    made = f"{registry.address}/made/busybox:1"
    crane("copy", "--platform", "linux/amd64", base, made)
    crane("append", "-b", made, "-f", str(tmp_path / "layer.tar"), "-t", made)
    crane("mutate", made, "--entrypoint", "cat,/note", "--label", "a=b", "-t", made)
    assert hub.engine.docker("run", "--rm", "--pull", "always", "-q", made).ok().out == "kept\n"
    assert hub.engine.docker("image", "inspect", "-f", "{{.Config.Labels.a}}", made).ok().line == "b"
    assert crane("ls", f"{registry.address}/made/busybox") == "1"
