"""Health checks: probes that run, pass, fail, hang, and what is told of them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until, wait_while

FAST = ("--health-interval", "100ms", "--health-timeout", "2s", "--health-retries", "2")


def health(cli: Client, container: str) -> dict:
    return json.loads(cli("inspect", "-f", "{{json .State.Health}}", container).ok().out)


def healths(cli: Client, container: str, status: str) -> None:
    wait_until(lambda: health(cli, container)["Status"] == status, what=f"{container} {status}")


def processes(pattern: str) -> str:
    return subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False).stdout


def test_from_starting_to_healthy_to_unhealthy(cli: Client) -> None:
    check = ("--health-cmd", "echo probed; test -e /ok")
    script = "sleep 0.3; touch /ok; sleep 1000"
    turns = cli("run", "-d", "--name", "turns", *check, *FAST, BUSYBOX, "sh", "-c", script).ok().line
    assert "(health: starting)" in cli("ps", "--format", "{{.Status}}").ok().out
    healths(cli, "turns", "healthy")
    assert "(healthy)" in cli("ps", "--filter", "health=healthy", "--format", "{{.Status}}").ok().out
    cli("exec", "turns", "rm", "/ok").ok()
    healths(cli, "turns", "unhealthy")
    seen = health(cli, "turns")
    assert seen["FailingStreak"] >= 2
    assert len(seen["Log"]) <= 5
    assert {one["Output"] for one in seen["Log"]} == {"probed\n"}
    assert seen["Log"][-1]["ExitCode"] == 1
    assert "(unhealthy)" in cli("ps", "--format", "{{.Status}}").ok().out
    assert not cli("ps", "-q", "--filter", "health=healthy").ok().out
    told = cli(
        "events",
        "--since",
        "1m",
        "--until",
        f"{time.time():.9f}",
        "--filter",
        f"container={turns}",
        "--format",
        "{{.Action}}",
    )
    changes = [line for line in told.ok().out.splitlines() if line.startswith("health_status")]
    assert changes[-2:] == ["health_status: healthy", "health_status: unhealthy"]


def test_no_check_no_health(cli: Client) -> None:
    cli("run", "-d", "--name", "plain", BUSYBOX, "sleep", "1000").ok()
    assert health(cli, "plain") is None
    assert cli("ps", "-q", "--filter", "health=none").ok().line
    cli("run", "-d", "--name", "off", "--no-healthcheck", BUSYBOX, "sleep", "1000").ok()
    assert health(cli, "off") is None


def test_a_probe_that_hangs_is_killed_with_its_whole_family(cli: Client) -> None:
    script = "sleep 4242 & (setsid sleep 4242 &) ; sleep 4242"
    options = ("--health-interval", "100ms", "--health-timeout", "300ms", "--health-retries", "1")
    cli("run", "-d", "--name", "hangs", "--health-cmd", script, *options, BUSYBOX, "sleep", "1000").ok()
    healths(cli, "hangs", "unhealthy")
    result = health(cli, "hangs")["Log"][0]
    assert (result["ExitCode"], result["Output"]) == (-1, "Health check exceeded timeout (300ms)")
    # One probe at a time: never more than its own four sleepers and shells.
    for _ in range(10):
        assert len(processes("sleep 4242$").split()) <= 6
    cli("pause", "hangs").ok()
    cli("unpause", "hangs").ok()
    cli("rm", "-f", "hangs").ok()
    assert not processes("sleep 4242$")


def test_a_command_that_cannot_run_is_a_failure(cli: Client) -> None:
    cli("run", "-d", "--name", "nocmd", "--health-cmd", "/no/such", *FAST, BUSYBOX, "sleep", "1000").ok()
    healths(cli, "nocmd", "unhealthy")
    assert health(cli, "nocmd")["Log"][-1]["ExitCode"] == 127


def test_long_output_is_kept_from_its_beginning(cli: Client) -> None:
    check = ("--health-cmd", "yes 12345678 | head -c 200000")
    cli("run", "-d", "--name", "talks", *check, *FAST, BUSYBOX, "sleep", "1000").ok()
    healths(cli, "talks", "healthy")
    output = health(cli, "talks")["Log"][-1]["Output"]
    assert output.startswith("12345678\n")
    assert output.endswith("...")
    assert len(output) == 4096 + 3


def test_the_start_period_forgives(cli: Client) -> None:
    options = ("--health-interval", "100ms", "--health-retries", "1", "--health-start-period", "60s")
    cli.needs(25, "--health-start-interval")
    cli(
        "run",
        "-d",
        "--name",
        "slow",
        "--health-cmd",
        "test -e /ok",
        *options,
        "--health-start-interval",
        "100ms",
        BUSYBOX,
        "sleep",
        "1000",
    ).ok()
    wait_until(lambda: len(health(cli, "slow")["Log"]) >= 3, what="three failures")
    assert health(cli, "slow")["Status"] == "starting"
    cli("exec", "slow", "touch", "/ok").ok()
    healths(cli, "slow", "healthy")


def test_a_paused_container_is_not_probed(cli: Client) -> None:
    cli("run", "-d", "--name", "still", "--health-cmd", "true", *FAST, BUSYBOX, "sleep", "1000").ok()
    healths(cli, "still", "healthy")
    cli("pause", "still").ok()
    before = health(cli, "still")["Log"][-1]
    now = time.time()
    window = ("--since", f"{now:.9f}", "--until", f"{now + 0.4:.9f}", "--filter", "container=still")
    assert not cli("events", *window).ok().out
    assert cli("ps", "--format", "{{.Status}}").ok().line.endswith("(Paused)")
    cli("unpause", "still").ok()
    wait_until(lambda: health(cli, "still")["Log"][-1] != before, what="the next probe")


def test_probes_leave_other_execs_alone(cli: Client, engine: Engine) -> None:
    cli("run", "-d", "--name", "busy", "--health-cmd", "true", *FAST, BUSYBOX, "sleep", "1000").ok()
    healths(cli, "busy", "healthy")
    # Nothing of the probes that have ended is kept.
    wait_until(lambda: len(list((engine.exec_root / "execs").iterdir())) <= 1, what="no records of old probes")
    assert cli("exec", "busy", "echo", "mine").ok().out == "mine\n"


def test_health_goes_on_after_a_probe_that_was_about_to_start(new_engine: Callable[..., Engine]) -> None:
    """The engine is killed between the record of a probe and its start."""
    engine = new_engine()
    cli = engine.docker
    cli("run", "-d", "--name", "goes", "--health-cmd", "test -e /ok", *FAST, BUSYBOX, "sleep", "1000").ok()
    healths(cli, "goes", "unhealthy")
    records = engine.exec_root / "execs"
    (record,) = wait_until(lambda: [*records.glob("*/exec.json")][:1], what="a probe's record")
    document = json.loads(record.read_text())
    engine.kill9()
    waiting = records / ("a" * 64)
    (waiting / "exit").mkdir(parents=True)
    document |= {"id": waiting.name, "started": False, "exit_code": None}
    (waiting / "exec.json").write_text(json.dumps(document))
    engine.up()
    cli("exec", "goes", "touch", "/ok").ok()
    healths(cli, "goes", "healthy")
    assert not waiting.exists()


def test_health_goes_on_after_the_engine_was_killed(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    cli = engine.docker
    cli("run", "-d", "--name", "goes", "--health-cmd", "test -e /ok", *FAST, BUSYBOX, "sleep", "1000").ok()
    cli(
        "run",
        "-d",
        "--name",
        "hung",
        "--health-cmd",
        "sleep 4243",
        "--health-interval",
        "100ms",
        BUSYBOX,
        "sleep",
        "1000",
    ).ok()
    healths(cli, "goes", "unhealthy")
    wait_until(lambda: processes("sleep 4243$"), what="the probe that hangs")
    hung = processes("sleep 4243$")
    engine.kill9()
    engine.up()
    assert health(cli, "goes")["Status"] == "unhealthy"
    cli("exec", "goes", "touch", "/ok").ok()
    healths(cli, "goes", "healthy")
    wait_while(lambda: set(hung.split()) & set(processes("sleep 4243$").split()), what="the old probe")
