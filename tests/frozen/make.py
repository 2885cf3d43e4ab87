"""Freeze a database: run an engine, have one of everything in it, kill it, and keep its database.

    python tests/frozen/make.py NAME [SOURCE]

writes tests/frozen/NAME.sqlite.xz, made by the engine of the tree SOURCE (`git worktree add SOURCE COMMIT`), or of this
one. As root: it is an engine like any other's. What is made is what tests/unit/engine/test_frozen_databases.py expects;
a newer engine that makes more of it gets a database of its own, and those that there are stay as they are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import lzma
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FROZEN = Path(__file__).parent
CREATE = (
    *("create", "--name", "full", "--hostname", "box", "--user", "1000:1000", "--workdir", "/tmp", "--env", "A=1"),
    *(
        "--label",
        "tier=front",
        "--network",
        "net",
        "--network-alias",
        "www",
        "--ip",
        "10.231.7.9",
        "-p",
        "127.0.0.1:18080:80",
    ),
    *(
        "-v",
        "data:/data:ro",
        "-v",
        "/anonymous",
        "--tmpfs",
        "/scratch:size=1m",
        "--mount",
        "type=bind,src=/etc,dst=/host,ro",
    ),
    *("--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--cap-drop", "ALL", "--cap-add", "CHOWN", "--init"),
    *(
        "--restart",
        "on-failure:3",
        "--log-opt",
        "max-size=1m",
        "--ulimit",
        "nofile=64:64",
        "--read-only",
        "--stop-signal",
        "INT",
    ),
    *(
        "--health-cmd",
        "true",
        "--health-interval",
        "1h",
        "--add-host",
        "db:10.0.0.9",
        "--dns",
        "10.0.0.53",
        "--entrypoint",
        "/bin/sh",
    ),
    *("mine:1", "-c", "sleep 1000"),
)


def main() -> None:
    """Make one."""
    parser = argparse.ArgumentParser(description="freeze a database of an engine")
    parser.add_argument("name")
    parser.add_argument("source", type=Path, nargs="?", default=REPOSITORY)
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(arguments.source.resolve() / "src")
    sys.path.insert(0, str(REPOSITORY))
    from tests.support.engine import Engine
    from tests.system.networks.fake_plugin import FakePlugin

    class FormerEngine(Engine):
        def command(self) -> list[str]:
            return [one for one in super().command() if not one.startswith("--debug-loop-stalls")]

    engine = FormerEngine()
    try:
        engine.up()
        network = FakePlugin(engine.exec_root / "plugins" / "fake.sock")
        fill(engine.docker)
        fill_builds(engine)
        fill_plugins(engine, network)
        engine.kill9()
        frozen = freeze(engine.data_root / "state.sqlite")
        network.released.set()
        network.hanging.clear()
        engine.up()
        engine.remove_all()
        engine.docker("plugin", "rm", "-f", "me/volumes").ok()
        network.close()
    finally:
        engine.close(check=False)
    target = FROZEN / f"{arguments.name}.sqlite.xz"
    target.write_bytes(frozen)
    print(f"{target}: {len(frozen)} bytes")


def fill(docker) -> None:  # type: ignore[no-untyped-def]
    """One of everything: an image of our own, a network, a volume, and containers in each state."""
    docker("network", "create", "--subnet", "10.231.7.0/24", "--label", "kept=yes", "--internal", "net").ok()
    docker("volume", "create", "--label", "kept=yes", "data").ok()
    docker("run", "--name", "ended", "-v", "data:/v", "builtin/busybox", "sh", "-c", "echo said > /file; exit 7")
    docker("commit", "--change", "ENV B=2", "--change", "EXPOSE 80", "--message", "made", "ended", "mine:1").ok()
    docker("tag", "mine:1", "registry.example.org:5000/team/mine:2").ok()
    docker(*CREATE).ok()
    docker("run", "-d", "--name", "running", "-p", "127.0.0.1:18081:80/udp", "builtin/busybox", "sleep", "1000").ok()
    docker("exec", "-d", "running", "sleep", "1000").ok()
    docker("run", "-d", "--name", "paused", "--network", "none", "builtin/busybox", "sleep", "1000").ok()
    docker("pause", "paused").ok()


def fill_plugins(engine, network) -> None:  # type: ignore[no-untyped-def]
    """Of plugins: a volume and an image that a running container mounts, and an endpoint that has not ended yet."""
    from tests.support.managed_plugins import plugin_directory
    from tests.support.waiting import wait_until

    docker, kept = engine.docker, engine.root / "volumes"
    kept.mkdir()
    engine.darse(
        "plugin", "create", "me/volumes", str(plugin_directory("directory-volumes", engine.root / "made"))
    ).ok()
    engine.darse("plugin", "set", "me/volumes", f"state={kept}").ok()
    engine.darse("plugin", "enable", "me/volumes").ok()
    docker("volume", "create", "--driver", "me/volumes", "remote").ok()
    mounts = ("-v", "remote:/remote", "--mount", "type=image,src=mine:1,dst=/image")
    docker("run", "-d", "--name", "mounting", *mounts, "builtin/busybox", "sleep", "1000").ok()

    docker("network", "create", "--driver", "fake", "--subnet", "10.231.8.0/24", "plugged").ok()
    docker("run", "-d", "--name", "plugged", "--network", "plugged", "builtin/busybox", "sleep", "1000").ok()
    network.hanging.add("NetworkDriver.Leave")
    docker("kill", "plugged").ok()
    wait_until(lambda: "NetworkDriver.Leave" in network.methods, what="the end of an endpoint")


def fill_builds(engine) -> None:  # type: ignore[no-untyped-def]
    """A build whose record is pinned and has attachments, with its cache; and one that fails."""
    from tests.support.buildkit import ControlStub, connected
    from tests.support.clients import found

    from darse.buildkit.wire.control_pb2 import BuildHistoryRequest, UpdateBuildHistoryRequest

    context, buildctl = engine.root / "context", found("buildctl")
    assert buildctl is not None, "buildctl is not there (make clients)"
    context.mkdir()
    (context / "file").write_text("content\n")

    def build(step: str, *options: str) -> int:
        (context / "Dockerfile").write_text(f"FROM builtin/busybox\nCOPY file /file\nRUN {step}\n")
        trees = ("--local", f"context={context}", "--local", f"dockerfile={context}")
        words = (buildctl, "--addr", engine.host, "build", "--frontend", "dockerfile.v0", *trees, *options)
        return subprocess.run(words, check=False, timeout=120).returncode

    async def pin() -> None:
        async with connected(engine.socket) as channel:
            listed = await ControlStub(channel).ListenBuildHistory(BuildHistoryRequest(EarlyExit=True))
            await ControlStub(channel).UpdateBuildHistory(
                UpdateBuildHistoryRequest(Ref=listed[0].record.Ref, Pinned=True)
            )

    assert build("echo said && echo content > /said", "--output", "type=image,name=built:1") == 0
    asyncio.run(pin())
    assert build("exit 3") != 0


def freeze(database: Path) -> bytes:
    """A database with what is in its log, without free pages, compressed."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "copy.sqlite"
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        return lzma.compress(copy.read_bytes(), preset=9 | lzma.PRESET_EXTREME)


if __name__ == "__main__":
    main()
