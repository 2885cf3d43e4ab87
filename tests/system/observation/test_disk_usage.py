"""`system df` against `du`: what is told of images, containers and volumes is what the disk holds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made, tar

MEGABYTE = 1024 * 1024
# `du` counts the directories that hold layers, blobs, partial downloads and snapshots; nobody's size has them.
BLOCK = 4096


def du(*paths: Path) -> int:
    """Bytes of the blocks on the disk."""
    done = subprocess.run(["du", "-s", "-c", "-B1", *paths], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-2])


def df(engine: Engine) -> dict[str, Any]:
    answer: dict[str, Any] = engine.api("GET", "/system/df").json()
    return answer


@needs_registry
def test_images_containers_and_volumes(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    root = engine.data_root
    base = tar({"base": os.urandom(5 * MEGABYTE), **{f"small/{number}": b"x" * 100 for number in range(300)}})
    with Registry() as registry:
        for name, size in (("one", 3), ("two", 2), ("three", 1)):
            layers = [base] if name != "three" else []
            made = Made(*layers, tar({name: os.urandom(size * MEGABYTE)}))
            made.push(registry.address, name, "1")
            engine.docker("pull", "-q", f"{registry.address}/{name}:1").ok()
        write = (
            "head -c 4000000 /dev/urandom > /written; head -c 1500000 /dev/urandom > /kept/file; ln /kept/file /kept/x"
        )
        engine.docker("run", "--name", "writer", "-v", "kept:/kept", BUSYBOX, "sh", "-c", write).ok()
    told = df(engine)
    sizes = {one["RepoTags"][0].rpartition("/")[2]: (one["Size"], one["SharedSize"]) for one in told["Images"]}

    # Images: as in their list, the contents of files; what they take on the disk is what `du` finds of them all.
    listed = {one["Id"]: one["Size"] for one in engine.api("GET", "/images/json").json()}
    assert {one["Id"]: one["Size"] for one in told["Images"]} == listed
    shared = sizes["one:1"][1]
    assert shared == sizes["two:1"][1] == 5 * MEGABYTE + 300 * 100
    assert (sizes["three:1"][1], sizes["busybox:latest"][1]) == (0, 0)
    assert [sizes[f"{name}:1"][0] - sizes[f"{name}:1"][1] for name in ("one", "two", "three")] == [
        number * MEGABYTE for number in (3, 2, 1)
    ]
    parts = [root / "images" / name for name in ("layers", "blobs", "partials")]
    assert 0 <= du(*parts) - told["LayersSize"] <= 4 * BLOCK

    # Containers and volumes: as with docker, the contents of files; blocks round each up, and directories are more.
    (writer,) = told["Containers"]
    assert writer["SizeRw"] == 4_000_000
    upper = root / "snapshots" / writer["Id"]
    assert 0 <= du(upper) - writer["SizeRw"] <= 8 * BLOCK
    (volume,) = told["Volumes"]
    assert volume["UsageData"] == {"Size": 1_500_000, "RefCount": 1}
    assert 0 <= du(root / "volumes" / "kept") - 1_500_000 <= 4 * BLOCK

    # All of it: the rest is the engine's own (the database with what it is built again from, the reserve, the program),
    # and the files that each container has from the engine.
    rest = du(root) - told["LayersSize"] - writer["SizeRw"] - 1_500_000
    own = du(*root.glob("state.*"), *(root / name for name in ("reserve", "code", "records") if (root / name).exists()))
    assert 0 <= rest - own <= 40 * BLOCK

    # What pruning says it freed is what is there less.
    before = du(root / "images")
    engine.docker("rm", "writer").ok()
    freed = engine.api("POST", '/images/prune?filters={"dangling":["false"]}').json()["SpaceReclaimed"]
    assert abs(before - du(root / "images") - freed) <= 4 * BLOCK
    assert df(engine)["Images"] == []


def test_the_commands_table(cli: Client, engine: Engine) -> None:
    """`system df -v`: shared and unique sizes are those of the API, in docker's form."""
    cli("create", "--name", "one", "-v", "kept:/kept", BUSYBOX).ok()
    told = df(engine)
    tables = cli("system", "df", "-v").ok().out.split("\n\n")
    image = next(line for line in tables[1].splitlines() if line.startswith(BUSYBOX))
    (row,) = (one for one in told["Images"] if f"{BUSYBOX}:latest" in one["RepoTags"])
    shown = f"{row['Size'] / 1e6:.4g}MB"
    assert shown in image
    assert image.split()[-1] == "1"
    assert "VOLUME NAME   LINKS     SIZE\nkept          1         0B" in cli("system", "df", "-v").out
