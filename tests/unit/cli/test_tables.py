"""Every table that a command prints fits a terminal of 80 columns, and of 60; into a pipe it is docker's, whole.

The commands come from the index, so a new one is asked for by itself: it is here with its table, or among those that
print none.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from _pytest.capture import CaptureIO

from darse.cli.command_line import index
from darse.cli.output.table import width
from tests.unit.cli.fake import run

_ID = "0123456789ab" + "c" * 52
_NAME = "registry.example.com/team/application"
_VOLUME = {
    "Name": "f" * 64,
    "Driver": "local",
    "Scope": "local",
    "Mountpoint": "/var/lib/darse/volumes/data/_data",
    "UsageData": {"Size": 12_345_678, "RefCount": 12},
}
_CONTAINER = {
    "Id": _ID,
    "Names": ["/wordpress_database_1"],
    "Image": f"{_NAME}:1.2.3",
    "ImageID": f"sha256:{_ID}",
    "Command": "docker-entrypoint.sh apache2-foreground --with=options",
    "Created": 1_700_000_000,
    "State": "running",
    "Status": "Up About a minute (healthy)",
    "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080 + one, "Type": "tcp"} for one in range(3)],
    "Labels": {"com.example.key": "a value"},
    "Mounts": [{"Type": "volume", "Name": "f" * 64, "Driver": "local"}] * 3,
    "NetworkSettings": {
        "Networks": {"backend": {"IPAddress": "172.20.0.2", "GlobalIPv6Address": "fd00:1234:5678:9abc:def0::2"}}
    },
    "SizeRw": 1090,
    "SizeRootFs": 133_000_000,
}
_IMAGE = {
    "Id": f"sha256:{_ID}",
    "RepoTags": [f"{_NAME}:1.2.3-alpine"],
    "RepoDigests": [f"{_NAME}@sha256:{_ID}"],
    "Created": 1_700_000_000,
    "Size": 133_000_000,
    "SharedSize": 120_000_000,
    "Containers": 12,
    "ParentId": "",
    "Labels": None,
}
_STEP = {
    "Vertex": _ID,
    "Name": "[stage-1 2/14] RUN --mount=type=cache,target=/var/cache/apt apt-get update && apt-get install -y nginx",
    "State": "not reached",
    "Internal": False,
    "Inputs": [_ID],
    "BeginNs": 1_234_567_890,
    "DurationNs": 1_234_567_890_123,
    "Error": "",
    "Cause": "what it takes from [internal] load build context changed; [stage-1 1/14] FROM debian changed",
    "Details": ["some/long/path/of/a/file/in/the/context: mode 644 → 755, owner 0:0 → 1000:1000"],
}
_BUILD = {
    "ID": _ID[:24],
    "State": "cancelled",
    "Names": [f"{_NAME}:1.2.3-alpine"],
    "Image": f"sha256:{_ID}",
    "Error": 'process "/bin/sh -c apt-get update && apt-get install -y nginx" did not complete successfully',
    "StartedAt": "2026-01-01T00:00:00Z",
    "DurationNs": 1_234_567_890_123,
    "Steps": 14,
    "CachedSteps": 12,
}
_BUILD_STEPS = {("GET", f"/darse/builds/{_ID}"): {**_BUILD, "Steps": [_STEP]}}
_CACHE = {
    "ID": _ID[:25],
    "Type": "exec.cachemount",
    "Parents": [],
    "Size": 133_000_000,
    "CreatedAt": "2026-01-02T03:04:05.678901234Z",
    "LastUsedAt": "2026-01-02T03:04:05.678901234Z",
    "UsageCount": 123,
    "Shared": False,
    "InUse": False,
    "Description": "[stage 3/7] RUN apt-get update && apt-get install",
}
_USAGE = {
    "LayersSize": 133_000_000,
    "Images": [_IMAGE],
    "Containers": [_CONTAINER],
    "Volumes": [_VOLUME],
    "BuildCache": [_CACHE],
}
_LOG_DRIVERS = ["awslogs", "fluentd", "gcplogs", "gelf", "journald", "json-file", "local", "splunk", "syslog"]
_INFO = {
    **{f"Containers{state}": 1 for state in ("", "Running", "Paused", "Stopped")},
    "Images": 12,
    "ServerVersion": "0.1.0",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
    "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "ipvlan", "macvlan", "null"], "Log": _LOG_DRIVERS},
    "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
    "Swarm": {"LocalNodeState": "inactive"},
    "Runtimes": dict.fromkeys(["crun", "runc", "io.containerd.runc.v2", "kata-runtime", "gvisor", "youki"]),
    "DefaultRuntime": "crun",
    "InitBinary": "docker-init",
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
    "KernelVersion": "6.1.0-28-cloud-amd64",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm), of the cloud's own making",
    "OSType": "linux",
    "Architecture": "x86_64",
    "NCPU": 2,
    "MemTotal": 16 << 30,
    "Name": "host-with-a-long-name.of.a.domain",
    "ID": "01234567-89ab-cdef-0123-456789abcdef",
    "DockerRootDir": "/var/lib/darse",
    "Debug": False,
    "Labels": ["a=b"],
    "ExperimentalBuild": False,
    "LiveRestoreEnabled": True,
    "DefaultAddressPools": [{"Base": "172.17.0.0/12", "Size": 20}],
}
_PROCESS = ["root", "1234567", "1234566", "12", "Jan02", "?", "00:12:34", "apache2 -DFOREGROUND " + "--option " * 9]
_NETWORK = {
    "Name": "backend",
    "Id": _ID,
    "Driver": "bridge",
    "Scope": "local",
    "IPAM": {"Config": [{"Subnet": "172.20.0.0/16"}, {"Subnet": "fd00:1234:5678:9abc:def0::/80"}]},
}
_EXPLAINED = {
    "id": _ID,
    "container": "wordpress_database_1",
    "name": "checkpoint",
    "outcome": "failed: x",
    "started_at_ns": 0,
    "duration_ns": 123_456_789_012,
    "steps": 100,
}
_PUBLISHED = {"NetworkSettings": {"Ports": {"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "28080"}], "9/udp": None}}}
_FINDING = {
    "level": "problem",
    "subject": f"layer sha256:{_ID[:32]}",
    "finding": "is not there " * 8,
    "advice": "do " * 50,
}
_LONG = {**_NETWORK, "Name": "project_of_a_long_name_default_network"}

#: The lines that print a table or a list of their own, with what the engine answers; and what is in the output.
_OF_A_PROJECT = {
    "Id": "1" * 64,
    "State": "running",
    "Labels": {
        "com.docker.compose.project": "shop",
        "com.docker.compose.project.config_files": "/a/long/way/down/to/the/directory/of/a/project/in/it/compose.yaml",
    },
}
TABLES: list[tuple[list[str], dict[tuple[str, str], Any], str]] = [
    (["ps"], {("GET", "/containers/json"): [_CONTAINER]}, "wordpress_database_1"),
    (["ps", "-s"], {("GET", "/containers/json"): [_CONTAINER]}, "wordpress_database_1"),
    (["images"], {("GET", "/images/json"): [_IMAGE]}, "0123456789ab"),
    (["images", "--digests"], {("GET", "/images/json"): [_IMAGE]}, "0123456789ab"),
    (
        ["history", "app"],
        {
            ("GET", "/images/app/history"): [
                {**_IMAGE, "CreatedBy": "RUN /bin/sh -c apt-get update # buildkit", "Comment": "buildkit.dockerfile.v0"}
            ]
        },
        "buildkit",
    ),
    (
        ["network", "ls"],
        {("GET", "/networks"): [_LONG]},
        "local",
    ),
    (["network", "graph"], {("GET", "/networks"): [_NETWORK], ("GET", "/containers/json"): [_CONTAINER]}, "172.20.0.2"),
    (["volume", "ls"], {("GET", "/volumes"): {"Volumes": [_VOLUME]}}, "local"),
    (["system", "df"], {("GET", "/system/df"): _USAGE}, "Local Volumes"),
    (["system", "df", "-v"], {("GET", "/system/df"): _USAGE}, "wordpress_database_1"),
    (["builder", "du"], {("GET", "/system/df"): _USAGE}, "133MB"),
    (["builder", "history"], {("GET", "/darse/builds"): [_BUILD]}, _ID[:12]),
    (["builder", "history", _ID], _BUILD_STEPS, "not reached"),
    (["explain", "--last", "build", _ID], _BUILD_STEPS, "not reached"),
    (["checkpoint", "ls", "web"], {("GET", "/containers/web/checkpoints"): [{"Name": "before"}]}, "before"),
    (["context", "ls"], {}, "default"),
    (
        ["search", "app"],
        {("GET", "/images/search"): [{"name": _NAME, "description": "words " * 30, "star_count": 12345}]},
        "12345",
    ),
    (
        ["top", "web"],
        {
            ("GET", "/containers/web/top"): {
                "Titles": ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"],
                "Processes": [_PROCESS],
            }
        },
        "1234566",
    ),
    (
        ["plugin", "ls"],
        {
            ("GET", "/plugins"): [
                {
                    "Id": "0123456789abcdef" * 4,
                    "Name": _NAME,
                    "Enabled": True,
                    "PluginReference": _NAME,
                    "Config": {"Description": "words " * 30},
                }
            ]
        },
        "0123456789ab",
    ),
    (
        ["volume", "graph"],
        {
            ("GET", "/volumes"): {"Volumes": [{"Name": _NAME, "Driver": "local"}], "Warnings": None},
            ("GET", "/containers/json"): [],
        },
        "unused",
    ),
    (
        ["volume", "du", "data"],
        {
            ("GET", "/darse/volumes/data/usage"): {
                "OnDisk": 8192,
                "Size": 5,
                "Files": 2,
                "Parts": [{"Path": "directory/" * 12, "OnDisk": 8192, "Size": 4, "Files": 1}],
            }
        },
        "8.192kB",
    ),
    (["port", "--reachable", "web"], {("GET", "/containers/web/json"): _PUBLISHED}, "28080"),
    (["compose", "ls"], {("GET", "/containers/json"): [_OF_A_PROJECT]}, "shop"),
    (["info"], {("GET", "/info"): _INFO}, "splunk"),
    (["version"], {("GET", "/version"): {"Version": "0.1.0", "ApiVersion": "1.51", "Os": "linux"}}, "0.1.0"),
    (["explain"], {("GET", "/darse/explain"): [_EXPLAINED]}, "checkpoint"),
    (
        ["system", "check"],
        {("GET", "/darse/check"): [_FINDING, {"doing": "done"}]},
        "PROBLEM",
    ),
    (
        ["system", "import-docker"],
        {
            ("POST", "/darse/import-docker"): [
                {"kind": "image", "id": "sha256:12", "name": _NAME, "outcome": "failed", "reason": "damaged " * 20},
                {"doing": "done", "counts": {"image failed": 1}},
            ]
        },
        "FAILED",
    ),
]
# These print names, ids, JSON, streams, or nothing; or they are in `test_narrow`: `stats`, `doctor`, `events`, `pull`.
NONE = frozenset(
    {
        *("container stats", "doctor", "web"),
        *("builder build", "builder prune", "checkpoint create", "checkpoint rm", "completion", "compose config"),
        *(f"container {word}" for word in "attach commit cp create diff exec export inspect kill logs pause".split()),
        *(f"container {word}" for word in "prune rename restart rm run start stop unpause update wait".split()),
        *(f"context {word}" for word in "create export import inspect rm show update use".split()),
        *(f"image {word}" for word in "build import inspect load prune pull push rm save tag".split()),
        *(f"manifest {word}" for word in "annotate create inspect push rm".split()),
        *(f"network {word}" for word in "connect create disconnect inspect prune rm".split()),
        *(f"plugin {word}" for word in "create disable enable inspect install push rm set upgrade".split()),
        *(f"volume {word}" for word in "clone create export import inspect prune restore rm snapshot".split()),
        *(
            f"system {word}"
            for word in "dial-stdio events restart prune backup disable enable restore takeover".split()
        ),
        *("system tls client", "system tls init"),
        *("login", "logout", "inspect"),
        *(
            f"compose {word}"
            for word in "create down exec kill logs pause port pull restart rm run scale start".split()
        ),
        *(f"compose {word}" for word in "attach build commit cp events explain export publish push watch".split()),
        *(f"compose {word}" for word in "scale start stop unpause up version wait".split()),
        # They need the file of a project: tests/unit/cli/test_compose_tables.py.
        *(
            "compose ps",
            "compose images",
            "compose top",
            "compose volumes",
            "compose stats",
            "compose alpha viz",
            "compose alpha dry-run",
            *(f"compose bridge {word}" for word in ("convert", "transformations create", "transformations list")),
            "compose graph",
            "generate compose",
        ),
    }
)


def test_every_command_is_here() -> None:
    shown = {found[1] for line, _, _ in TABLES if (found := index.resolve(line)) is not None}
    assert shown | NONE == set(index.COMMANDS)
    assert not shown & NONE


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize(("line", "answers", "there"), TABLES, ids=[" ".join(line) for line, _, _ in TABLES])
def test_on_a_terminal_it_fits(
    line: list[str],
    answers: dict[tuple[str, str], Any],
    there: str,
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(CaptureIO, "isatty", lambda _: True)  # what capsys puts in standard output's place
    monkeypatch.setattr(CaptureIO, "fileno", lambda _: 1)
    monkeypatch.setattr(os, "get_terminal_size", lambda _=1: os.terminal_size((columns, 24)))
    run(line, answers)
    out = capsys.readouterr().out.replace("\r\x1b[2K", "")
    assert there in out
    assert [one for one in out.expandtabs().splitlines() if width(one) > columns] == []


@pytest.mark.parametrize(("line", "answers", "there"), TABLES, ids=[" ".join(line) for line, _, _ in TABLES])
def test_into_a_pipe_nothing_is_cut(
    line: list[str], answers: dict[tuple[str, str], Any], there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(line, answers)
    out = capsys.readouterr().out
    assert there in out
    shortened = [word for word in out.split() if word.endswith("…")]
    # docker's own: long commands, descriptions and endpoints.
    assert len(shortened) <= 1
