"""Every operation with not one byte, or not one inode, left in the data root or in the exec root.

Each answers within seconds: it works, or it is refused in words that name the directory. What was refused has left
nothing, what was done is there after a crash and after a stop, and all is well when the disk is freed.
"""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from tests.support.engine import BUSYBOX
from tests.support.managed_plugins import plugin_directory

_SECONDS = 30
# These need no new space, and free it: they may not be refused.
_MUST = (
    "ps -a",
    "logs log",
    "pause run1",
    "unpause run1",
    "rename run1 runa",
    "tag {image} t2:1",
    "images",
    "inspect old1",
    "top runa",
    "events --since 0 --until 1s",
    "system df",
    "network create net3",
    "network connect net1 runa",
    "network disconnect net1 runa",
    "network rm net2",
    "stop -t 1 run2",
    "kill run3",
    "wait run2",
    "kill always",
    "diff old1",
    "rmi t1:1",
    "image prune -af",
    "volume ls",
    "volume rm v1",
    "volume prune -af",
    "plugin ls",
    "plugin disable gate1",
    "plugin rm gate2",
)
# These write: they work, or are refused in words.
_MAY = (
    "create --name c1 {image} true",
    "run --rm --name c2 {image} true",
    "run -d --name c3 -v anonymous:/v {image} true",
    "start new1",
    "start -a new2",
    "restart -t 1 run4",
    "exec runa echo hi",
    "update --cpu-shares 512 runa",
    "update --memory 64m new2",
    "commit runa com:2",
    "commit old1 com:3",
    "cp {big} runa:/big",
    "cp {big} old1:/big",
    "cp old1:/f -",
    "cp runa:/etc/passwd -",
    "export -o {out} old1",
    "save -o {out} {image}",
    "load -i {saved}",
    "import {tree} imp:1",
    "volume create v2",
    "plugin create gate5 {plugin}",
    "plugin set gate3 REFUSE=x",
    "plugin enable gate3",
    "plugin enable gate4",
)


def _prepare(docker, directory):
    docker("run", "--rm", BUSYBOX, "true").ok()
    files = {"image": BUSYBOX, **{name: str(directory / name) for name in ("big", "out", "saved", "tree", "plugin")}}
    docker("save", "-o", files["saved"], BUSYBOX).ok()
    (directory / "big").write_bytes(os.urandom(3 << 20))
    with tarfile.open(files["tree"], "w") as tree:
        entry = tarfile.TarInfo("file")
        entry.size = 1 << 20
        tree.addfile(entry, io.BytesIO(os.urandom(1 << 20)))
    for name in ("run1", "run2", "run3", "run4"):
        docker("run", "-d", "--name", name, "-v", f"v-{name}:/v", BUSYBOX, "sleep", "1000").ok()
    for name in ("new1", "new2"):
        docker("create", "--name", name, BUSYBOX, "true").ok()
    assert docker("run", "--name", "old1", BUSYBOX, "sh", "-c", "echo hi > /f; exit 5").status == 5
    docker("run", "--name", "log", BUSYBOX, "echo", "a line").ok()
    docker("run", "-d", "--name", "always", "--restart", "unless-stopped", BUSYBOX, "sleep", "1000").ok()
    for name in ("net1", "net2"):
        docker("network", "create", name).ok()
    docker("volume", "create", "v1").ok()
    docker("tag", BUSYBOX, "t1:1").ok()
    plugin_directory("request-gate", directory / "plugin")
    for name in ("gate1", "gate2", "gate3", "gate4"):
        docker("plugin", "create", name, files["plugin"]).ok()
    docker("plugin", "enable", "gate1").ok()
    return files


def _known(engine):
    """All that the engine knows of, by kind."""
    api = engine.api
    return {
        "containers": {
            (one["Names"][0], one["State"], one["Status"].partition(")")[0] if one["State"] == "exited" else "")
            for one in api("GET", "/containers/json?all=1").json()
        },
        "images": {name for one in api("GET", "/images/json").json() for name in one["RepoTags"]},
        "volumes": {one["Name"] for one in api("GET", "/volumes").json()["Volumes"] or ()},
        "networks": {one["Name"] for one in api("GET", "/networks").json()},
        "plugins": {
            (one["Name"], one["Enabled"], one["Settings"]["Env"] == ["REFUSE=x"])
            for one in api("GET", "/plugins").json()
        },
    }


@pytest.mark.parametrize("what", ["bytes", "inodes"])
@pytest.mark.parametrize("root", ["data", pytest.param("exec", marks=pytest.mark.heavy)])
def test_every_operation(starve, tmp_path, tell, root, what):
    starved = starve(root, *(("-N", "4096") if what == "inodes" else ()))
    engine, docker = starved.engine, starved.docker
    fill = starved.disk.fill if what == "bytes" else starved.disk.fill_inodes
    files = _prepare(docker, tmp_path)
    refused = []

    def operate(text):
        fill()
        done = docker(*(word.format(**files) for word in text.split()), timeout=_SECONDS)
        if done.status != 0:
            refused.append(text)
            assert "no space left on device" in done.err.lower(), (text, done.err)  # crun's own words are capital
            assert "Errno" not in done.err
            assert "internal error" not in done.err
        return done

    for text in (*_MUST[:5], *_MAY, *_MUST[5:]):
        operate(text)
    assert set(refused).isdisjoint(_MUST), refused
    assert starved.state("run2")["ExitCode"] == 137
    known = _known(engine)
    made = {"create --name c1 {image} true": "c1", "run -d --name c3 -v anonymous:/v {image} true": "c3"}
    for text, name in made.items():
        there = any(one[0] == f"/{name}" for one in known["containers"])
        assert there == (text not in refused) or (root == "exec" and there), (text, refused)
    if "volume create v2" in refused:
        assert "v2" not in known["volumes"]
    plugins = {("gate1:latest", False, False), ("gate4:latest", "plugin enable gate4" not in refused, False)}
    plugins.add(("gate3:latest", "plugin enable gate3" not in refused, "plugin set gate3 REFUSE=x" not in refused))
    if "plugin create gate5 {plugin}" not in refused:
        plugins.add(("gate5:latest", False, False))
    assert known["plugins"] == plugins, refused
    engine.kill9()
    fill()
    engine.up()
    assert _known(engine) == known
    fill()
    assert engine.stop() == 0
    fill()
    engine.up()
    assert _known(engine) == known
    removals = ("rm old1", "rm -f runa", "container prune -f", "plugin rm -f gate3", "system prune -af")
    for text in ("volume prune -af", *removals):
        operate(text)
    assert set(refused).isdisjoint(removals), refused
    starved.disk.free()
    assert docker("run", "--rm", BUSYBOX, "echo", "well").ok().line == "well"
    operations = len(_MUST) + len(_MAY) + len(removals) + 1
    tell(f"no {what} in the {root} root: {operations} operations, {len(refused)} refused in words")
    starved.end()
