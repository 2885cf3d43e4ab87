"""Images whose configs are absurd: refused, or run as far as that goes; the engine takes no harm.

Each is loaded and run with both commands, and after it the engine must run another container.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.crafted import crafted_image
from tests.support.engine import BUSYBOX, Client, Engine

_DEEP: Any = []
for _ in range(900):
    _DEEP = [_DEEP]

CONFIGS: dict[str, dict[str, Any]] = {
    "environment without names": {"Env": ["", "=", "=x", "a", "PATH=/bin"]},
    "environment with NUL": {"Env": ["A=b\0c", "PATH=/bin"]},
    "environment with control characters": {"Env": ["A=\x1b]0;title\x07\r\n", "PATH=/bin"]},
    "environment of 8 MiB": {"Env": [f"V{number}={'x' * 1000}" for number in range(8000)]},
    "one variable of 2 MiB": {"Env": ["A=" + "x" * (2 << 20), "PATH=/bin"]},
    "environment of another type": {"Env": {"PATH": "/bin"}},
    "environment of numbers": {"Env": [1, None, {"a": 1}]},
    "labels of 4 MiB": {"Labels": {f"l{number}": "x" * 1000 for number in range(4000)}},
    "labels of another type": {"Labels": ["a"]},
    "labels that are no strings": {"Labels": {"a": 1, "b": None}},
    "labels with control characters": {"Labels": {"\x1b[2J": "\x1b]52;c;x\x07"}},
    "user with separators": {"User": "0:0:0"},
    "user with path": {"User": "../../etc/passwd"},
    "user with NUL": {"User": "root\0"},
    "user of 1 MiB": {"User": "u" * (1 << 20)},
    "user of another type": {"User": 0},
    "negative user": {"User": "-1"},
    "largest user": {"User": "4294967295"},
    "working directory outside": {"WorkingDir": "../../../.."},
    "working directory with dots": {"WorkingDir": "/../../../../etc"},
    "working directory of 1 MiB": {"WorkingDir": "/" + "d/" * (1 << 19)},
    "working directory that is a file": {"WorkingDir": "/bin/busybox"},
    "working directory with NUL": {"WorkingDir": "/a\0b"},
    "ports without numbers": {"ExposedPorts": {"x": {}, "": {}, "/": {}, "80/tcp/udp": {}}},
    "ports out of range": {"ExposedPorts": {"99999/tcp": {}, "-1/tcp": {}, "0/tcp": {}}},
    "ports of a protocol that is none": {"ExposedPorts": {"80/icmp": {}}},
    "all ports": {"ExposedPorts": {"1-65535/tcp": {}, "1-65535/udp": {}}},
    "65,535 ports": {"ExposedPorts": {f"{number}/tcp": {} for number in range(1, 65536)}},
    "ports of another type": {"ExposedPorts": ["80/tcp"]},
    "command of another type": {"Cmd": "sh -c id"},
    "command of empty words": {"Cmd": ["", ""]},
    "command with NUL": {"Cmd": ["sh\0", "-c"]},
    "command of 3 MiB": {"Entrypoint": ["true"], "Cmd": ["x" * 100_000] * 30},
    "entrypoint of another type": {"Entrypoint": {"a": "b"}},
    "entrypoint that is a directory": {"Entrypoint": ["/tmp"]},
    "entrypoint outside": {"Entrypoint": ["../../../../../../bin/bash"]},
    "volume at the root": {"Volumes": {"/": {}}},
    "volumes with dots": {"Volumes": {"/../../etc": {}, "/a/../../b": {}}},
    "relative volume": {"Volumes": {"data": {}}},
    "volume with options": {"Volumes": {"/etc:/x:rw": {}, "/host:/data": {}}},
    "volume with NUL": {"Volumes": {"/a\0b": {}}},
    "volume of a long name": {"Volumes": {"/" + "v" * 300: {}}},
    "volumes of another type": {"Volumes": ["/data"]},
    "signal that is none": {"StopSignal": "SIGNONSENSE"},
    "signal out of range": {"StopSignal": "999"},
    "signal of another type": {"StopSignal": 9},
    "health check of another kind": {"Healthcheck": {"Test": ["EXEC", "true"]}},
    "health check without time": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": -1, "Timeout": -1}},
    "health check for ever": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**30}},
    "health check of another type": {"Healthcheck": ["CMD", "true"]},
    "hostname": {"Hostname": "../../etc", "Domainname": "\n127.0.0.1 evil"},
    "mac address": {"MacAddress": "zz:zz"},
    "deep": {"OnBuild": _DEEP},
    "shell of another type": {"Shell": 1},
    "unknown members": {
        "Privileged": True,
        "HostConfig": {"Privileged": True, "Binds": ["/:/host"]},
        "Runtime": "runc",
    },
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    # A config of 8 MiB is hashed, and written with its container, in the event loop: that may take longer than else.
    engine = Engine.start("--debug-loop-stalls=1000")
    yield engine
    engine.close()


@pytest.mark.parametrize("name", CONFIGS)
def test_hostile_config(engine: Engine, name: str) -> None:
    before = len(engine.log(1 << 30))
    client = engine.darse
    loaded = client("load", input=crafted_image("hostile", CONFIGS[name]))
    assert loaded.status in (0, 1)
    if loaded.status == 0:
        done = client("run", "--rm", "hostile", "id")
        assert done.status in (0, 1, 125, 126, 127), done
        # Never more than root of a container.
        assert "uid=" not in done.out or "uid=0(root) gid=0(root)" in done.out or "uid=0 gid=0" in done.out, done.out
        client("inspect", "hostile").ok()
        client("image", "ls").ok()
        client("image", "rm", "hostile").ok()
    else:
        assert loaded.err.strip()
    said = engine.log(1 << 30)[before:]
    assert "Traceback" not in said, said[-3000:]


def test_options_in_an_images_config_are_none(cli: Client) -> None:
    """A config says how to run, not with which rights: moby's `container_config` and friends have no effect."""
    cli("load", input=crafted_image("hostile", CONFIGS["unknown members"])).ok()
    script = "grep -q '^CapEff:.*00000000a80425fb' /proc/self/status && ls / "
    listed = cli("run", "--rm", "hostile", "sh", "-c", script).ok().out.split()
    assert "host" not in listed
    cli("run", "--rm", BUSYBOX, "true").ok()
