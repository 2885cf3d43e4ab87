"""`darse ps` prints what `docker ps` prints of the same containers: every column, every filter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine, docker_program

pytestmark = pytest.mark.skipif(docker_program() is None, reason="docker's client is not installed")

_COLUMNS = (
    "ID Image Command CreatedAt RunningFor Ports State Status Size Names Labels Mounts Networks LocalVolumes Platform"
).split()
_FILTERS = (
    "status=running status=exited status=created exited=3 exited=0 name=^/?up name=o label=tier label=tier=front "
    "label=none ancestor=builtin/busybox ancestor=nothing volume=data volume=/host network=bridge network=none "
    "health=none health=starting publish=80 publish=7 expose=90/tcp expose=80-95 is-task=false before=up since=up "
    "id=zzz bogus=1 status=bogus exited=x"
).split()


def _timeless(text: str) -> str:
    """Seconds pass from one command to the next; columns are as wide as what they say."""
    return re.sub(" +", " ", re.sub("Less than a second|[0-9]+ seconds?|About a minute|[0-9]+ minutes?", "T", text))


@pytest.fixture
def fleet(engine: Engine, tmp_path: Path) -> Engine:
    run = engine.darse
    published = ("-p", "127.0.0.1::80", "--expose", "90-91")
    mounts = (
        "-v",
        "data:/data",
        "-v",
        f"{tmp_path}:/host",
        "-v",
        "/anonymous",
        "--mount",
        f"type=image,src={BUSYBOX},dst=/i",
    )
    run("run", "-d", "--name", "first", "-l", "tier=front", "-l", "a=b,c", *published, BUSYBOX, "sleep", "1000").ok()
    run(
        "run",
        "-d",
        "--name",
        "up",
        *mounts,
        "--health-cmd",
        "false",
        BUSYBOX,
        "sh",
        "-c",
        'echo "a long one"; sleep 1000',
    ).ok()
    run("run", "--name", "broken", "--network", "none", BUSYBOX, "sh", "-c", "exit 3")
    run("create", "--name", "only-made", "--annotation", "x=y", BUSYBOX).ok()
    run("pause", "first").ok()
    return engine


def test_columns_and_filters(fleet: Engine) -> None:
    lines = [["--format", f"{{{{.{column}}}}}", *more] for column in _COLUMNS for more in ([], ["--no-trunc"])]
    lines += [
        ["--format", '{{.Label "tier"}}/{{json .Labels}}'],
        ["--format", "table {{.ID}}\t{{.Names}}\t{{.Mounts}}"],
    ]
    lines += [["--filter", one, "--format", "{{.Names}}"] for one in _FILTERS]
    lines += [[], ["-q"], ["-s"], ["--no-trunc"], ["-n", "1"], ["-l"], ["-q", "--no-trunc"], ["--format", "json"]]
    different = []
    for line in lines:
        docker, darse = (client("ps", "-a", *line) for client in (fleet.docker, fleet.darse))
        if (docker.status, _timeless(docker.out), docker.err) != (darse.status, _timeless(darse.out), darse.err):
            different.append(f"{line}:\n  docker {docker.out!r} {docker.err}\n  darse  {darse.out!r} {darse.err}")
    assert not different, "\n".join(different)
