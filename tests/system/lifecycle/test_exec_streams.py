"""Execs as programs drive them that speak the API: framing, the end of a run, sizes, what cannot be run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import Response, connect
from tests.support.waiting import wait_while

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


@pytest.fixture
def running(engine: Engine) -> Iterator[Engine]:
    engine.docker("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    yield engine
    engine.docker("rm", "-f", "cc").ok()


def made(engine: Engine, *command: str, **more: object) -> str:
    body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True, **more}
    created = engine.api("POST", "/containers/cc/exec", body)
    assert created.status == 201, created
    return str(created.json()["Id"])


def started(engine: Engine, exec_id: str, *, tty: bool) -> Response:
    return engine.api("POST", f"/exec/{exec_id}/start", {"Tty": tty})


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        assert data[1:4] == b"\0\0\0"
        size = int.from_bytes(data[4:8], "big")
        found.append((data[0], data[8 : 8 + size]))
        data = data[8 + size :]
    return found


def test_framing_goes_by_the_start(running: Engine) -> None:
    """docker-py starts with `Tty` false whatever the exec was created with."""
    answer = started(running, made(running, "sh", "-c", "echo out; echo err >&2", Tty=True), tty=False)
    assert answer.headers["Content-Type"] == MULTIPLEXED
    parts = frames(answer.body)
    assert {stream for stream, _ in parts} == {1}
    assert b"".join(data for _, data in parts) == b"out\r\nerr\r\n"
    answer = started(running, made(running, "echo", "out"), tty=True)
    assert answer.headers["Content-Type"] == RAW
    assert answer.body == b"out\n"


def test_a_terminal_that_is_made_ready_and_not_used_leaves_no_socket(running: Engine) -> None:
    assert started(running, made(running, "true", Tty=True), tty=True).status == 200
    made(running, "true", Tty=True)
    running.docker("rm", "-f", "cc").ok()
    wait_while(lambda: list((running.exec_root / "tty").iterdir()), 10)
    running.docker("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()


@pytest.mark.parametrize("again", [False, True])
def test_execs_end_with_their_containers_run(running: Engine, again: bool) -> None:
    exec_id = made(running, "true")
    finished = made(running, "sh", "-c", "exit 3")
    assert started(running, finished, tty=False).status == 200
    running.docker("stop", "-t", "0", "cc").ok()
    if again:
        running.docker("start", "cc").ok()
    for one in (exec_id, finished):
        answer = started(running, one, tty=False)
        assert (answer.status, answer.message) == (404, f"No such exec instance: {one}")
    # Who waited for its end may still ask how it ended.
    assert running.api("GET", f"/exec/{finished}/json").json()["ExitCode"] == 3


def test_a_resize_waits_for_the_start(running: Engine) -> None:
    exec_id = made(running, "sh", "-c", "sleep 1; stty size", Tty=True)
    answers: list[Response] = []
    resize = threading.Thread(target=lambda: answers.append(running.api("POST", f"/exec/{exec_id}/resize?h=21&w=43")))
    resize.start()
    time.sleep(0.3)  # it is there before the start
    assert not answers
    assert b"21 43" in started(running, exec_id, tty=True).body
    resize.join()
    assert answers[0].status == 200


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("nobody-knows", "unable to find user nobody-knows: no matching entries in passwd file"),
        ("0:no-group", "unable to find group no-group: no matching entries in group file"),
        ("3000000000", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_a_user_who_is_not_there_is_refused_before_there_is_a_stream(running: Engine, user: str, said: str) -> None:
    answer = running.api("POST", "/containers/cc/exec", {"Cmd": ["true"], "User": user})
    assert (answer.status, answer.message) == (400, said)
    for command in (running.docker, running.darse):
        done = command("exec", "-u", user, "cc", "true")
        assert (done.status, done.out) == (1, "")
        assert said in done.err


def test_a_user_who_has_gone_before_the_start_is_refused_there(running: Engine) -> None:
    exec_id = made(running, "true", User="www-data")
    running.docker("exec", "cc", "sh", "-c", "sed -i.bak /www-data/d /etc/passwd").ok()
    answer = started(running, exec_id, tty=False)
    assert (answer.status, answer.message) == (
        400,
        "unable to find user www-data: no matching entries in passwd file",
    )
    running.docker("exec", "cc", "mv", "/etc/passwd.bak", "/etc/passwd").ok()
    assert started(running, exec_id, tty=False).status == 200


@pytest.mark.parametrize(
    ("arguments", "said"), [(["cc", ""], 'exec: ""'), (["-w", "rel", "cc", "true"], "Cwd must be an absolute path")]
)
@pytest.mark.parametrize("command", ["docker", "darse"])
def test_what_no_container_can_run_is_126(running: Engine, command: str, arguments: list[str], said: str) -> None:
    done = getattr(running, command)("exec", *arguments)
    assert done.status == 126
    assert said in done.out + done.err


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_statuses_and_reasons_are_dockers_with_each_runtime(engine: Engine, runtime: str) -> None:
    engine.docker("run", "-d", "--name", "cc", "--runtime", runtime, BUSYBOX, "sleep", "1000").ok()
    for arguments, status, said in (
        (["cc", "nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
        (
            ["-w", "/none", "cc", "pwd"],
            127,
            'chdir to cwd ("/none") set in config.json failed: no such file or directory',
        ),
        (["cc", "/etc"], 126, 'exec: "/etc": permission denied'),
    ):
        done = engine.docker("exec", *arguments)
        assert (done.status, said in done.out + done.err, "level=" in done.out) == (status, True, False), done
    engine.docker("rm", "-f", "cc").ok()


def test_an_upgrade_header_alone_upgrades_an_exec(running: Engine) -> None:
    exec_id = made(running, "cat", AttachStdin=True)
    body = json.dumps({"Tty": False}).encode()
    with connect(str(running.socket)) as connection:
        connection.sendall(
            f"POST /exec/{exec_id}/start HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 101 UPGRADED")
        connection.sendall(b"ping")
        assert frames(connection.recv(4096)) == [(1, b"ping")]


def test_signals_are_named_as_docker_names_them(running: Engine) -> None:
    refused = running.docker("kill", "-s", "SIG42", "cc")
    assert (refused.status, "invalid signal: SIG42" in refused.err.lower().replace("sig42", "SIG42")) == (1, True)
    running.docker("kill", "-s", "WINCH", "cc").ok()
    running.docker("kill", "-s", "28", "cc").ok()


def test_details_of_logs_are_sorted(engine: Engine) -> None:
    options = ("--log-opt", "labels=zoo,apple", "--log-opt", "env=NAME", "-e", "NAME=a b", "--label", "zoo=1")
    engine.docker("run", "--name", "told", *options, "--label", "apple=2", BUSYBOX, "echo", "x").ok()
    assert engine.docker("logs", "--details", "told").ok().out == "NAME=a+b,apple=2,zoo=1 x\n"
    engine.docker("rm", "told").ok()


def test_a_probe_that_times_out_keeps_its_output(engine: Engine) -> None:
    options = ("--health-cmd", "echo halfway; sleep 100", "--health-timeout", "300ms", "--health-interval", "100ms")
    engine.docker("run", "-d", "--name", "slow", *options, BUSYBOX, "sleep", "1000").ok()
    end = time.monotonic() + 20
    while not (log := engine.api("GET", "/containers/slow/json").json()["State"]["Health"]["Log"]):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert log[0]["Output"] == "Health check exceeded timeout (300ms): halfway\n"
    engine.docker("rm", "-f", "slow").ok()


def test_spans_of_events(engine: Engine) -> None:
    engine.api("POST", "/volumes/create", {"Name": "remembered"})
    now = int(time.time())
    wrong = engine.api("GET", f"/events?since={now}&until={now - 10}")
    assert wrong.status == 400
    assert wrong.message == f"`since` time ({now}) cannot be after `until` time ({now - 10})"
    came = []
    with_end = engine.api.stream("GET", f"/events?until={now + 5}")
    for event in with_end:
        came.append((event["Action"], event["Actor"]["ID"]))
        if came[-1] == ("create", "remembered"):
            engine.api("DELETE", "/volumes/remembered")
    assert came.index(("create", "remembered")) < came.index(("destroy", "remembered"))
