"""Other programs read what we save, and we load what they write: podman and umoci (skopeo's are in test_service)."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX


class Podman:
    """podman on a root of its own."""

    def __init__(self, root):
        # Its own limits are higher than a host may allow.
        (root / "containers.conf").write_text("[containers]\ndefault_ulimits = []\n")
        self._environment = {**os.environ, "CONTAINERS_CONF": str(root / "containers.conf")}
        self._command = ["podman", "--root", root / "root", "--runroot", root / "run", "--storage-driver", "vfs"]

    def __call__(self, *arguments):
        done = subprocess.run(
            [*self._command, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._environment,
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout.strip()

    def run(self, *arguments):
        """Run a container with as little as an unprivileged host has."""
        return self("run", "--rm", "--network", "none", "--cgroups", "disabled", *arguments)


@pytest.fixture
def podman():
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    # Not tmp_path: podman wants short ones.
    root = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))
    yield Podman(root)
    shutil.rmtree(root)


@pytest.fixture
def archive(engine, tmp_path):
    """An archive that we saved."""
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    path = tmp_path / "ours.tar"
    engine.docker("save", "-o", str(path), BUSYBOX).ok()
    return path


def test_podman_loads_and_runs_what_is_saved(podman, archive):
    assert podman("load", "-q", "-i", archive) == "Loaded image: docker.io/builtin/busybox:latest"
    assert podman.run("docker.io/builtin/busybox:latest", "echo", "hello") == "hello"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_podman_saves_loads_and_runs(engine, podman, archive, tmp_path, form):
    podman("load", "-q", "-i", archive)
    container = podman("create", "docker.io/builtin/busybox:latest", "sh")
    (tmp_path / "note").write_text("from podman")
    podman("cp", tmp_path / "note", f"{container}:/note")
    podman("commit", "-q", container, "example.org/made:1")
    made = tmp_path / "made.tar"
    podman("save", "-q", "--format", form, "-o", made, "example.org/made:1")
    assert engine.docker("load", "-i", str(made)).ok().line == "Loaded image: example.org/made:1"
    try:
        assert engine.docker("run", "--rm", "example.org/made:1", "cat", "/note").ok().out == "from podman"
    finally:
        engine.docker("rmi", "example.org/made:1").ok()


@pytest.mark.skipif(shutil.which("umoci") is None, reason="umoci is not installed")
def test_umoci_reads_and_unpacks_the_layout_that_is_saved(archive, tmp_path):
    layout = tmp_path / "layout"
    layout.mkdir()
    subprocess.run(["tar", "-C", layout, "-xf", archive], check=True)
    listed = subprocess.run(["umoci", "ls", "--layout", layout], check=True, capture_output=True, text=True)
    assert listed.stdout.strip() == "latest"
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:latest", tmp_path / "bundle"], check=True, timeout=120)
    assert (tmp_path / "bundle/rootfs/bin/busybox").read_bytes()[:4] == b"\x7fELF"
