"""What a host with systemd, cgroup version 2 and AppArmor has besides, as most users' are; `make test-guest` is one."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until
from tests.system.observation.support import run

CGROUPS = Path("/sys/fs/cgroup")
PROFILES = Path("/sys/kernel/security/apparmor/profiles")
needs_version_2 = pytest.mark.skipif(
    not (CGROUPS / "cgroup.controllers").exists(), reason="cgroup version 2 alone is not what this host has"
)
needs_apparmor = pytest.mark.skipif(not PROFILES.exists(), reason="this host has no AppArmor")
needs_systemd = pytest.mark.skipif(not Path("/run/systemd/system").is_dir(), reason="systemd does not run this host")


# AppArmor


@needs_apparmor
def test_containers_are_confined_unless_they_are_not_to_be(cli: Client) -> None:
    script = ("cat", "/proc/self/attr/current")
    assert cli("run", "--rm", BUSYBOX, *script).ok().line == "darse-default (enforce)"
    assert cli("run", "--rm", "--security-opt", "apparmor=unconfined", BUSYBOX, *script).ok().line == "unconfined"
    assert cli("run", "--rm", "--privileged", BUSYBOX, *script).ok().line == "unconfined"
    cli("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    assert cli("inspect", "-f", "{{.AppArmorProfile}}", "cc").ok().line == "darse-default"
    assert cli("exec", "cc", *script).ok().line == "darse-default (enforce)"
    assert "name=apparmor" in cli("info", "-f", "{{.SecurityOptions}}").ok().out


@needs_apparmor
def test_a_profile_that_is_not_loaded_is_an_error(cli: Client) -> None:
    done = cli("run", "--name", "cc", "--security-opt", "apparmor=no-such-profile", BUSYBOX, "true")
    assert done.status in (125, 126, 127), done.err
    assert "unable to apply apparmor profile: no-such-profile is not loaded" in done.err


@needs_apparmor
def test_the_default_profile_is_loaded_again(engine: Engine) -> None:
    parse_profile("-R", "profile darse-default {}\n")
    assert "darse-default" not in PROFILES.read_text()
    confined = engine.darse("run", "--rm", BUSYBOX, "cat", "/proc/self/attr/current").ok()
    assert confined.line == "darse-default (enforce)"


@needs_apparmor
def test_an_exec_without_its_profile(engine: Engine) -> None:
    name = f"darse-test-{uuid.uuid4().hex[:8]}"
    profile = f"profile {name} flags=(attach_disconnected) {{ capability, file, network, signal, }}\n"
    parse_profile("-r", profile)
    run(engine, "cc", "--security-opt", f"apparmor={name}")
    assert engine.darse("exec", "cc", "cat", "/proc/self/attr/current").ok().line == f"{name} (enforce)"
    parse_profile("-R", profile)
    refused = engine.darse("exec", "cc", "true")
    assert refused.status == 126
    assert "unable to apply apparmor profile" in refused.out


def parse_profile(option: str, text: str) -> None:
    """Load a profile into the kernel (-r), or take it out (-R)."""
    command = ["/sbin/apparmor_parser", "--skip-cache", option]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


# cgroup version 2


@needs_version_2
def test_stats_have_the_counters_of_version_2(engine: Engine) -> None:
    run(engine, "cc", "-m", "64m", "--cpus", "0.5", "--pids-limit", "9")
    sample = engine.api("GET", "/containers/cc/stats?stream=false").json()
    memory = sample["memory_stats"]
    assert {"anon", "file", "inactive_file", "pgfault", "slab"} <= memory["stats"].keys()
    assert memory["limit"] == 64 << 20
    assert 0 < memory["usage"] < memory["limit"]
    assert "max_usage" not in memory  # only version 1 keeps it
    assert sample["pids_stats"] == {"current": 1, "limit": 9}
    assert sample["cpu_stats"]["throttling_data"].keys() == {"periods", "throttled_periods", "throttled_time"}
    assert sample["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert "percpu_usage" not in sample["cpu_stats"]["cpu_usage"]


@needs_version_2
def test_containers_have_a_cgroup_namespace_of_their_own(engine: Engine) -> None:
    container = run(engine, "cc")
    assert container["HostConfig"]["CgroupnsMode"] == "private"
    assert engine.darse("exec", "cc", "cat", "/proc/self/cgroup").ok().line == "0::/"
    listed = engine.darse("exec", "cc", "ls", "/sys/fs/cgroup").ok().out.split()
    assert "memory.current" in listed
    assert engine.darse("exec", "cc", "sh", "-c", "echo 1 > /sys/fs/cgroup/pids.max").status != 0
    assert engine.api("GET", "/info").json()["CgroupVersion"] == "2"


# systemd


class Unit:
    """An engine that systemd runs, as a transient unit."""

    def __init__(self, engine: Engine) -> None:
        self.name = f"darsed-test-{uuid.uuid4().hex[:8]}"
        self.engine = engine

    def start(self, *options: str) -> None:
        settings = ("Type=notify", "KillMode=process", "Delegate=yes")
        properties = [word for one in settings for word in ("-p", one)]
        unit = ("--unit", self.name, "--setenv", "PYTHONDONTWRITEBYTECODE=1")
        systemctl(["systemd-run", "--quiet", *unit, *properties, *options, *self.engine.command()])

    def state(self, member: str) -> str:
        return systemctl(["systemctl", "show", "--value", "-p", member, self.name])


def systemctl(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture
def unit() -> Iterator[Unit]:
    made = Unit(Engine())
    yield made
    if made.state("ActiveState") == "active":
        made.engine.remove_all()
    subprocess.run(["systemctl", "stop", f"{made.name}.socket", f"{made.name}.service"], check=False)
    made.engine.close()


@needs_systemd
def test_containers_outlive_a_restart_by_systemd(unit: Unit) -> None:
    unit.start()
    container = run(unit.engine, "cc")
    before = unit.state("MainPID")
    systemctl(["systemctl", "restart", unit.name])
    assert unit.state("MainPID") != before
    after = unit.engine.api("GET", "/containers/cc/json").json()
    assert (after["State"]["Running"], after["State"]["Pid"]) == (True, container["State"]["Pid"])
    assert unit.engine.darse("exec", "cc", "echo", "there").ok().line == "there"


@needs_systemd
def test_systemd_passes_the_socket(unit: Unit) -> None:
    """The first client is what starts the engine."""
    socket = unit.engine.root / "passed.sock"
    unit.engine.flags = ("-H", "fd://", "-H", unit.engine.host)
    unit.start("--socket-property", f"ListenStream={socket}")
    assert unit.state("ActiveState") == "inactive"
    client = Client(unit.engine.darse.program, f"unix://{socket}", unit.engine.root / "config")
    assert client("run", "--rm", BUSYBOX, "echo", "there", timeout=120).ok().line == "there"
    assert unit.state("ActiveState") == "active"


@needs_systemd
def test_lines_in_the_journal(cli: Client) -> None:
    name = f"talks-{uuid.uuid4().hex[:8]}"
    options = ("--log-driver", "journald", "--log-opt", "tag=mine")
    cli("run", "--name", name, *options, BUSYBOX, "sh", "-c", "echo out; echo err >&2").ok()
    identifier = cli("inspect", "-f", "{{.Id}}", name).ok().line

    def entries() -> list[dict[str, str]]:
        found = systemctl(["journalctl", "-o", "json", f"CONTAINER_NAME={name}"])
        lines = [json.loads(line) for line in found.splitlines()]
        return lines if len(lines) == 2 else []

    journal = {one["MESSAGE"]: one for one in wait_until(entries, 30, "two lines in the journal")}
    assert (journal["out"]["PRIORITY"], journal["err"]["PRIORITY"]) == ("6", "3")
    assert journal["out"]["CONTAINER_ID_FULL"] == identifier
    assert journal["out"]["CONTAINER_TAG"] == "mine"
    logs = cli("logs", name).ok()
    assert (logs.out, logs.err) == ("out\n", "err\n")


# A boot


def boot(engine: Engine) -> None:
    """What a crash of the machine leaves: the disk, but no process, mount, control group, link or file in /run."""
    engine.kill9()
    engine.sweep_host()
    shutil.rmtree(engine.exec_root)


def test_restart_policies_after_a_boot(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    darse = engine.darse
    for name, policy in (
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("failure", "on-failure"),
        ("never", "no"),
    ):
        darse("run", "-d", "--name", name, "--restart", policy, "-v", "data:/v", BUSYBOX, "sleep", "1000").ok()
    for name, policy in (("stopped", "always"), ("rests", "unless-stopped")):
        darse("run", "-d", "--name", name, "--restart", policy, BUSYBOX, "sleep", "1000").ok()
        darse("stop", "-t", "0", name).ok()
    darse("exec", "always", "touch", "/v/kept").ok()
    boot(engine)
    engine.up()

    def states() -> dict[str, str]:
        lines = darse("ps", "-a", "--format", "{{.Names}} {{.State}}").ok().out.splitlines()
        return dict(line.split() for line in lines)

    up, down = ("always", "stopped", "unless", "failure"), ("rests", "never")
    wanted = dict.fromkeys(up, "running") | dict.fromkeys(down, "exited")
    wait_until(lambda: states() == wanted, 60, f"the states {wanted}")
    assert darse("exec", "unless", "ls", "/v").ok().line == "kept"
    assert "inet 172" in darse("exec", "always", "ip", "-4", "addr", "show", "eth0").ok().out
