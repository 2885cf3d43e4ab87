"""`system import-docker`: what a real dockerd has left runs here, and is there for dockerd as before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.dockerd import BASE, IMAGES, VOLUMES, fingerprint, make_data_root, running_dockerd
from tests.support.engine import Engine
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("dockerd") is None, reason="Debian's docker.io makes the data root"),
]


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data root that nobody changes."""
    root = Path(f"/tmp/dz-docker-{os.getpid()}")
    try:
        make_data_root(root)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def data_root(made: Path) -> Iterator[Path]:
    """A copy that a test may damage."""
    copy = Path(f"{made}-copy")
    subprocess.run(["cp", "-a", str(made), str(copy)], check=True)
    yield copy
    shutil.rmtree(copy)


@pytest.fixture
def engine(new_engine: Callable[..., Engine]) -> Iterator[Engine]:
    """An engine that is emptied at the end."""
    engine = new_engine()
    yield engine
    for container in engine.darse("ps", "-aq").ok().out.split():
        engine.darse("rm", "-f", container).ok()
    engine.darse("volume", "prune", "-af").ok()
    engine.darse("network", "prune", "-f").ok()


def imported(engine: Engine, root: Path, *options: str) -> str:
    done = engine.darse("system", "import-docker", "--data-root", str(root), *options, timeout=120)
    assert done.status == 0, done.out + done.err
    return done.out


def names(engine: Engine, *command: str) -> set[str]:
    return set(engine.darse(*command).ok().out.split())


def test_all_of_a_real_data_root_runs(engine: Engine, made: Path, tell: Callable[[str], None], tmp_path: Path) -> None:
    before = fingerprint(made)
    planned = imported(engine, made, "--dry-run")
    assert "10 images, 2 networks, 9 volumes, 5 containers would be imported" in planned
    assert names(engine, "ps", "-aq") == names(engine, "volume", "ls", "-q") == names(engine, "images", "-q") == set()
    began = time.perf_counter()
    said = imported(engine, made)
    seconds = time.perf_counter() - began
    assert "10 images, 2 networks, 9 volumes, 5 containers imported\n" in said
    assert f"docker would have started with itself: {container_of(made, 'c3').name[:12]}\n" in said
    assert "0 images, 0 networks, 0 volumes, 0 containers imported; 26 there already" in imported(engine, made)
    check_images(engine, made)
    check_volumes_and_networks(engine)
    check_containers(engine, made)
    assert engine.darse("system", "check").ok().out.endswith("0 findings, 0 problems left\n")
    linked = [path for path in (engine.data_root / "images/layers").glob("*/fs/**/*") if path.is_file()]
    assert linked
    assert all(path.stat().st_nlink > 1 for path in linked)
    assert fingerprint(made) == before
    tell(f"import of dockerd's: 10 images, 9 volumes, 2 networks, 5 containers in {seconds:.1f} s")
    with running_dockerd(made) as docker:
        assert docker.docker("start", "-a", "c0").split() == ["run", "run", "vol0"]


def check_images(engine: Engine, made: Path) -> None:
    tags = names(engine, "images", "--format", "{{.Repository}}:{{.Tag}}")
    assert tags == {BASE, *IMAGES, "localhost:5000/team/small:latest"}
    repositories = json.loads((made / "image/overlay2/repositories.json").read_text())["Repositories"]
    for name in IMAGES:
        docker_id = repositories[name[:-3]][name]
        assert engine.darse("inspect", "-f", "{{.Id}}", name).ok().line == docker_id
    seen = engine.darse(
        "run", "--rm", "deep:v1", "sh", "-c", "ls -A /tree /tree/below; stat -c %a-%u:%g /tree/hard"
    ).ok()
    assert seen.out.split() == ["/tree:", "below", "hard", "zeros", "/tree/below:", "other", "4755-7:8"]
    # The archive of every layer is what it was: a registry has it already.
    assert len(engine.darse("save", *IMAGES).ok().raw) > 1 << 20


def check_volumes_and_networks(engine: Engine) -> None:
    volumes = json.loads(engine.darse("volume", "inspect", *VOLUMES).ok().out)
    assert [one["Labels"] for one in volumes] == [{"of": name} for name in VOLUMES]
    front, chosen = json.loads(engine.darse("network", "inspect", "front", "chosen").ok().out)
    assert front["Labels"] == {"made": "by-hand"}
    assert front["IPAM"]["Config"][0]["Subnet"] == "10.88.0.0/24"
    assert chosen["IPAM"]["Config"][0]["Subnet"]


def check_containers(engine: Engine, made: Path) -> None:
    ids = names(engine, "ps", "-aq", "--no-trunc")
    assert ids == {path.name for path in (made / "containers").iterdir()}
    for number, volume in enumerate(VOLUMES[:3]):
        found = json.loads(engine.darse("inspect", f"c{number}").ok().out)[0]
        assert found["Config"]["Image"] == "deep:v1"
        assert found["Config"]["Hostname"] == "host-name"
        assert found["State"]["ExitCode"] == number
        ran = engine.darse("start", "-a", f"c{number}")
        # What it wrote is there, a directory that it made anew hides the image's, and its volume's files are its own.
        assert (ran.status, ran.out.split()) == (number, ["run", "run", volume])
        assert list(found["NetworkSettings"]["Networks"]) == (["front"] if number < 2 else ["bridge"])
    owner = engine.darse("run", "--rm", "-v", "vol1:/v", BASE, "stat", "-c", "%u:%g", "/v/file").ok()
    assert owner.line == "5:6"
    assert engine.darse("start", "-a", "a-user").ok().line == "kept"
    imported(engine, made, "--start")
    wait_until(lambda: "vol3" in engine.darse("logs", "c3").out, what="c3, which was started with the import")


def test_a_data_root_that_dockerd_uses_is_refused(engine: Engine, data_root: Path) -> None:
    path = container_of(data_root, "c3") / "hostconfig.json"
    path.write_text(path.read_text().replace('"unless-stopped"', '"no"'))
    with running_dockerd(data_root):
        done = engine.darse("system", "import-docker", "--data-root", str(data_root))
        assert done.status == 1
        assert f"a dockerd runs on {data_root}: stop it first" in done.err
    imported(engine, data_root)


def test_what_is_no_data_root_is_refused(engine: Engine, data_root: Path, tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "no data root of dockerd"), (engine.data_root, "no data root of dockerd")):
        done = engine.darse("system", "import-docker", "--data-root", str(path))
        assert (done.status, reason in done.err) == (1, True), done.err
    os.chown(data_root / "overlay2", 100000, 100000)
    done = engine.darse("system", "import-docker", "--data-root", str(data_root))
    assert (done.status, "userns-remap" in done.err) == (1, True), done.err
    shutil.move(data_root / "image/overlay2", data_root / "image/btrfs")
    done = engine.darse("system", "import-docker", "--data-root", str(data_root))
    assert (done.status, "found: btrfs" in done.err) == (1, True), done.err


def layer_of(root: Path, name: str) -> Path:
    """The record of the topmost layer of an image."""
    image_id = json.loads((root / "image/overlay2/repositories.json").read_text())["Repositories"][name[:-3]][name]
    config = json.loads((root / "image/overlay2/imagedb/content/sha256" / image_id[7:]).read_text())
    diff_id = config["rootfs"]["diff_ids"][-1]
    for layer in (root / "image/overlay2/layerdb/sha256").iterdir():
        if (layer / "diff").read_text() == diff_id:
            return layer
    raise AssertionError(f"no layer of {name}")


def container_of(root: Path, name: str) -> Path:
    for path in (root / "containers").iterdir():
        if json.loads((path / "config.v2.json").read_text())["Name"] == f"/{name}":
            return path
    raise AssertionError(f"no container {name}")


def test_what_is_damaged_is_left_and_the_rest_is_imported(engine: Engine, data_root: Path) -> None:
    files = data_root / "overlay2" / (layer_of(data_root, "small0:v1") / "cache-id").read_text() / "diff"
    (files / "name").write_text("small0:V1")
    (layer_of(data_root, "small1:v1") / "cache-id").write_text("../../../etc")
    tar_split = layer_of(data_root, "small2:v1") / "tar-split.json.gz"
    tar_split.write_bytes(tar_split.read_bytes()[:-20])
    hidden = data_root / "overlay2" / (layer_of(data_root, "small3:v1") / "cache-id").read_text() / "diff"
    (hidden / "name").unlink()
    (hidden / "name").symlink_to("/etc/hostname")
    damaged = {name: container_of(data_root, name).name[:12] for name in ("c1", "c2")}
    (container_of(data_root, "c2") / "hostconfig.json").unlink()
    (container_of(data_root, "c1") / "config.v2.json").write_text('{"ID": [')
    shutil.rmtree(data_root / "volumes/vol4/_data")
    (data_root / "volumes/vol4/_data").symlink_to("/etc")
    (data_root / "network/files/local-kv.db").write_bytes(b"\0" * 8192)
    done = engine.darse("system", "import-docker", "--data-root", str(data_root))
    assert done.status == 1
    failed = [line for line in done.out.splitlines() if line.startswith("FAILED")]
    for reason in (
        "container {c1}: .*config.v2.json is damaged",
        "container {c2}: .*hostconfig.json cannot be read: no such file",
        "image .*small0:v1: layer sha256:.* is damaged: the files in .* are those of sha256:",
        "image small1:v1: .*cache-id is damaged: it names no directory",
        "image small2:v1: layer sha256:.*: its tar-split metadata is not whole",
        "image small3:v1: layer sha256:.*: 'name' cannot be read",
        "volume vol4: .*/vol4/_data: not a directory",
        "network .*local-kv.db cannot be read: it has no whole meta page",
        "container a-user: its image .* is not there",
    ):
        expected = re.compile("FAILED +" + reason.format(**damaged))
        assert any(expected.match(line) for line in failed), (reason, failed)
    assert len(failed) == 9
    assert names(engine, "ps", "-a", "--format", "{{.Names}}") == {"c0", "c3"}
    assert names(engine, "images", "--format", "{{.Repository}}:{{.Tag}}") == {BASE, "deep:v1", *IMAGES[5:]}
    # An engine that finds it starts it with itself.
    engine.darse("start", "c3").ok()
    wait_until(lambda: "vol3" in engine.darse("logs", "c3").out, what="what c3 prints")
    assert engine.darse("system", "check").ok().out.endswith("0 findings, 0 problems left\n")


def test_an_import_that_was_killed_is_run_again(engine: Engine, data_root: Path) -> None:
    command = [engine.darse.program, "system", "import-docker", "--data-root", str(data_root)]
    broken_off = 0
    for lines in (1, 4, 9, 15, 21):
        with subprocess.Popen(
            command, env=engine.darse.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            assert run.stdout is not None
            for _ in range(lines):
                run.stdout.readline()
            engine.kill9()
            run.communicate(timeout=60)
        broken_off += run.returncode != 0
        engine.restart()
    # A line comes when its object is there, into a pipe too: what is killed after the end is no test.
    assert broken_off >= 3
    imported(engine, data_root)
    assert "26 there already" in imported(engine, data_root)
    # An engine that finds it starts it with itself.
    engine.darse("start", "c3").ok()
    wait_until(lambda: "vol3" in engine.darse("logs", "c3").out, what="what c3 prints")
    assert engine.darse("system", "check").ok().out.endswith("0 findings, 0 problems left\n")
