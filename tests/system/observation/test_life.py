"""What is told of a container's life: events with docker's attributes, states and their texts, waits, clean-up."""

from __future__ import annotations

import json
import re
import select
from collections.abc import Callable
from typing import Any

import pexpect
import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until
from tests.system.observation.support import run


def told(engine: Engine, since: str) -> list[tuple[str, dict[str, str]]]:
    """The container events since a time: actions, and what they say besides name, image and labels."""
    until = engine.api("GET", "/info").json()["SystemTime"]
    body = engine.api("GET", f"/events?since={since}&until={until}", query=None).body
    found = []
    for event in map(json.loads, body.splitlines()):
        if event["Type"] != "container":
            continue
        attributes = event["Actor"]["Attributes"]
        assert (attributes.pop("image"), attributes.pop("tier")) == (BUSYBOX, "front")
        assert event["status"] == event["Action"]
        assert event["id"] == event["Actor"]["ID"]
        attributes.pop("name")
        attributes.pop("org.darse.builtin")  # a label of the image
        found.append((event["Action"], attributes))
    return found


def now(engine: Engine) -> str:
    moment: str = engine.api("GET", "/info").json()["SystemTime"]
    return moment


def test_every_action_is_told_with_docker_s_attributes(engine: Engine) -> None:
    client = engine.darse
    since = now(engine)
    client(
        "create",
        "-t",
        "--name",
        "story",
        "-l",
        "tier=front",
        BUSYBOX,
        "sh",
        "-c",
        "trap 'exit 4' TERM; while :; do sleep 0.05; done",
    )
    client("start", "story").ok()
    client("pause", "story").ok()
    client("unpause", "story").ok()
    client("top", "story").ok()
    client("update", "--pids-limit", "50", "story").ok()
    client("kill", "-s", "USR2", "story").ok()  # without effect on the first process of a namespace that has no trap
    client("rename", "story", "tale").ok()
    engine.api("POST", "/containers/tale/resize?h=10&w=20")
    execution = engine.api(
        "POST", "/containers/tale/exec", {"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": True}
    ).json()["Id"]
    engine.api("POST", f"/exec/{execution}/start", {"Detach": True})
    wait_until(lambda: engine.api("GET", f"/exec/{execution}/json").json()["ExitCode"] == 3, what="the exec's end")
    client("stop", "tale")
    client("start", "tale").ok()
    client("restart", "-t", "5", "tale").ok()
    client("rm", "-f", "tale").ok()
    seen = told(engine, since)
    assert [action for action, _ in seen] == [
        "create",
        "start",
        "pause",
        "unpause",
        "top",
        "update",
        "kill",
        "rename",
        "resize",
        "exec_create: sh -c exit 3",
        "exec_start: sh -c exit 3",
        "exec_die",
        "kill",
        "die",
        "stop",
        "start",
        "kill",
        "die",
        "stop",
        "start",
        "restart",
        "kill",
        "die",
        "destroy",
    ]
    attributes = [more for _, more in seen]
    assert attributes[6] == {"signal": "12"}
    assert attributes[7] == {"oldName": "/story"}
    assert attributes[8] == {"height": "10", "width": "20"}
    assert attributes[9] == attributes[10] == {"execID": execution}
    assert attributes[11] == {"execID": execution, "exitCode": "3"}
    assert attributes[12] == {"signal": "15"}
    assert attributes[13].pop("execDuration").isdigit()
    assert attributes[13] == {"exitCode": "4"}
    assert attributes[21] == {"signal": "9"}
    assert attributes[22]["exitCode"] == "137"
    plain = [0, 1, 2, 3, 4, 5, 14, 15, 18, 19, 20, 23]
    assert [attributes[number] for number in plain] == [{}] * len(plain)


def test_attach_shows_the_prompt_of_a_shell_at_once(engine: Engine) -> None:
    """After a detach nothing new is printed by a shell that waits: its screen is drawn anew, as docker has it done."""
    screen = engine.darse.terminal("run", "-it", "--name", "shell", BUSYBOX, "sh")
    try:
        screen.expect("# ")
        screen.send("\x10\x11")
        screen.expect([pexpect.EOF])
    finally:
        screen.close(force=True)
    for _ in range(3):
        again = engine.darse.terminal("attach", "shell")
        try:
            again.expect("# ")
            again.send("\x10\x11")
            again.expect([pexpect.EOF])
        finally:
            again.close(force=True)
    engine.darse("rm", "-f", "shell").ok()


def test_attach_and_detach_are_told(engine: Engine) -> None:
    since = now(engine)
    screen = engine.darse.terminal("run", "-it", "--name", "held", "-l", "tier=front", BUSYBOX, "cat")
    try:
        screen.send("x")
        screen.expect("x")
        screen.send("\x10\x11")
        wait_until(lambda: "detach" in [action for action, _ in told(engine, since)], what="the detach")
    finally:
        screen.close(force=True)
    actions = [action for action, _ in told(engine, since)]
    assert {"create", "attach", "start", "detach"} <= set(actions)
    assert "die" not in actions


def test_health_is_told(engine: Engine) -> None:
    since = now(engine)
    options = ("--health-cmd", "true", "--health-interval", "100ms", "-l", "tier=front")
    run(engine, "fit", *options)
    wait_until(lambda: "health_status: healthy" in [action for action, _ in told(engine, since)], what="health")
    assert "(healthy)" in engine.darse("ps", "--format", "{{.Status}}").line


def test_a_prune_is_told(engine: Engine) -> None:
    since = now(engine)
    engine.darse("create", "-l", "tier=front", BUSYBOX).ok()
    engine.darse("container", "prune", "-f").ok()
    until = now(engine)
    events = engine.darse("events", "--since", since, "--until", until, "--format", "{{json .}}").ok().out
    (prune,) = [event for event in map(json.loads, events.splitlines()) if event["Action"] == "prune"]
    assert (prune["Type"], set(prune["Actor"]["Attributes"])) == ("container", {"reclaimed"})


# States


@pytest.fixture
def states(cli: Client, engine: Engine) -> dict[str, dict[str, Any]]:
    """A container in each state: its list entry by its name."""
    cli("create", "--name", "made", BUSYBOX, "true").ok()
    cli("run", "-d", "--name", "up", BUSYBOX, "sleep", "1000").ok()
    cli("run", "-d", "--name", "held", BUSYBOX, "sleep", "1000").ok()
    cli("pause", "held").ok()
    cli("run", "--name", "over", BUSYBOX, "sh", "-c", "exit 3")
    cli("run", "--name", "nothing", BUSYBOX, "no-such-program")
    cli("run", "-d", "--name", "again", "--restart", "always", BUSYBOX, "sh", "-c", "exit 7").ok()

    def listed() -> dict[str, dict[str, Any]]:
        entries = engine.api("GET", "/containers/json?all=1").json()
        found = {entry["Names"][0].removeprefix("/"): entry for entry in entries}
        count = engine.api("GET", "/containers/again/json").json()["RestartCount"]
        return found if found["again"]["State"] == "restarting" and count >= 3 else {}

    return wait_until(listed, what="a container that waits for its restart")


def test_status_texts(states: dict[str, dict[str, Any]]) -> None:
    texts = {
        "made": ("created", r"Created"),
        "up": ("running", r"Up (Less than a|\d+) seconds?"),
        "held": ("paused", r"Up (Less than a|\d+) seconds? \(Paused\)"),
        "over": ("exited", r"Exited \(3\) (Less than a|\d+) seconds? ago"),
        "nothing": ("created", r"Created"),
        "again": ("restarting", r"Restarting \(7\) (Less than a|\d+) seconds? ago"),
    }
    for name, (state, text) in texts.items():
        assert states[name]["State"] == state
        assert re.fullmatch(text, states[name]["Status"]), states[name]["Status"]


def test_states_in_an_inspect(states: dict[str, dict[str, Any]], engine: Engine) -> None:
    def flags(name: str) -> tuple[bool, ...]:
        state = engine.api("GET", f"/containers/{name}/json").json()["State"]
        assert state["Dead"] is False  # a removal is one transaction: none is half done
        assert (state["Pid"] > 0) is (state["Running"] and not state["Restarting"])
        return state["Running"], state["Paused"], state["Restarting"]

    assert flags("made") == flags("over") == flags("nothing") == (False, False, False)
    assert flags("up") == (True, False, False)
    assert flags("held") == (True, True, False)
    assert states
    nothing = engine.api("GET", "/containers/nothing/json").json()["State"]
    assert (nothing["ExitCode"], nothing["StartedAt"]) == (127, "0001-01-01T00:00:00Z")


def test_filters_by_state(states: dict[str, dict[str, Any]], engine: Engine) -> None:
    def named(**filters: list[str]) -> set[str]:
        found = engine.api("GET", "/containers/json", query={"filters": filters}).json()
        return {entry["Names"][0].removeprefix("/") for entry in found}

    assert states
    assert named() == {"up", "held", "again"} or named() == {"up", "held"}
    assert named(status=["created"]) == {"made", "nothing"}
    assert named(status=["paused"]) == {"held"}
    assert named(status=["exited"]) >= {"over"}
    assert named(status=["dead"]) == named(status=["removing"]) == set()
    assert named(exited=["3"]) == {"over"}
    refused = engine.api("GET", "/containers/json", query={"filters": {"status": ["asleep"]}})
    assert (refused.status, "invalid filter 'status=asleep'" in refused.message) == (400, True)


def test_waits(engine: Engine) -> None:
    """`next-exit` waits although it does not run, `removed` for its removal, `not-running` not at all."""
    client = engine.darse
    client("create", "--name", "awaited", BUSYBOX, "sh", "-c", "exit 5").ok()
    assert engine.api("POST", "/containers/awaited/wait").json() == {"StatusCode": 0}
    path = "/containers/awaited/wait?condition="
    # The head of the answer comes when the wait is registered.
    with engine.api.begun("POST", f"{path}next-exit") as exited, engine.api.begun("POST", f"{path}removed") as removed:
        client("start", "awaited").ok()
        assert json.loads(exited.read()) == {"StatusCode": 5}
        assert not select.select([removed.fileno()], [], [], 0)[0]
        client("rm", "awaited").ok()
        assert json.loads(removed.read()) == {"StatusCode": 5}


# Cleaning up


def test_rm_survives_the_engine(new_engine: Callable[..., Engine]) -> None:
    """What ends while no engine runs is removed by the next one, with its volumes."""
    engine = new_engine()
    engine.darse("run", "-d", "--rm", "--name", "brief", "-v", "/data", BUSYBOX, "sleep", "0.5").ok()
    pid = engine.api("GET", "/containers/brief/json").json()["State"]["Pid"]
    engine.kill9()

    def ended() -> bool:
        try:
            return "sleep" not in open(f"/proc/{pid}/cmdline").read()
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(ended, what="the container's end")
    engine.up()
    wait_until(lambda: engine.api("GET", "/containers/json?all=1").json() == [], what="the removal")
    assert engine.api("GET", "/volumes").json()["Volumes"] in ([], None)


def test_a_name_that_is_taken(cli: Client) -> None:
    identifier = cli("create", "--name", "taken", BUSYBOX).ok().line
    done = cli("run", "--name", "taken", BUSYBOX, "true")
    assert done.status == 125
    assert (
        f'Conflict. The container name "/taken" is already in use by container "{identifier}". You have to remove (or '
        "rename) that container to be able to reuse that name." in done.err
    )


def test_a_cidfile_that_is_there(cli: Client, tmp_path: Any) -> None:
    path = tmp_path / "id"
    identifier = cli("create", "--cidfile", str(path), BUSYBOX).ok().line
    assert path.read_text() == identifier
    done = cli("create", "--cidfile", str(path), BUSYBOX)
    assert "ontainer ID file found, make sure the other container isn't running or delete" in done.err
    assert path.read_text() == identifier


def test_prune_with_filters(cli: Client) -> None:
    cli("create", "--name", "kept", "-l", "keep=1", BUSYBOX).ok()
    cli("create", "--name", "tier", "-l", "tier=back", BUSYBOX).ok()
    cli("create", "--name", "plain", BUSYBOX).ok()
    cli("run", "-d", "--name", "runs", BUSYBOX, "sleep", "1000").ok()

    def prune(*filters: str) -> set[str]:
        flags = [word for one in filters for word in ("--filter", one)]
        cli("container", "prune", "-f", *flags).ok()
        return set(cli("ps", "-a", "--format", "{{.Names}}").ok().out.split())

    assert prune("until=1h") == {"kept", "tier", "plain", "runs"}
    assert prune("label=tier=front") == {"kept", "tier", "plain", "runs"}
    assert prune("label=tier=back") == {"kept", "plain", "runs"}
    assert prune("label!=keep") == {"kept", "runs"}
    assert prune() == {"runs"}
    assert "invalid filter" in cli("container", "prune", "-f", "--filter", "name=runs").err
