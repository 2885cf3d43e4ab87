"""crane (go-containerregistry), unmodified: what the engine pushes it accepts, what it makes the engine pulls.

GOBIN=$PWD/.venv/libexec go install github.com/google/go-containerregistry/cmd/crane@v0.20.2
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.hub import Hub
from tests.support.registry import Registry

CRANE = shutil.which("crane")
pytestmark = pytest.mark.skipif(CRANE is None, reason="crane is not installed (go-containerregistry)")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


def crane(*arguments: str) -> str:
    done = subprocess.run([str(CRANE), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_was_pushed_is_valid(hub: Hub, registry: Registry) -> None:
    pushed = f"{registry.address}/made/alpine:1"
    for arguments in (["pull", "-q", "nginx:alpine"], ["tag", "nginx:alpine", pushed], ["push", "-q", pushed]):
        hub.engine.docker(*arguments).ok()
    # Every layer is fetched; digests, sizes and diff ids are computed and compared.
    assert "PASS" in crane("validate", "--remote", pushed)
    layers = json.loads(hub.engine.docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", pushed).ok().out)
    assert json.loads(crane("config", pushed))["rootfs"]["diff_ids"] == layers
    assert (
        hub.engine.docker("image", "inspect", "-f", "{{json .RepoDigests}}", pushed)
        .ok()
        .out.count(crane("digest", pushed))
    )


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
