"""logs and attach without a terminal."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
from tests.support.engine import BUSYBOX, Client
from tests.support.waiting import wait_until


def test_both_streams_apart_and_complete(cli: Client) -> None:
    script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    cli("run", "--name", "both", BUSYBOX, "sh", "-c", script).ok()
    done = cli("logs", "both").ok()
    assert done.out.splitlines() == [f"out {number}" for number in range(500)]
    assert done.err.splitlines() == [f"err {number}" for number in range(500)]


@pytest.mark.parametrize(("tail", "expected"), [("0", []), ("1", ["9"]), ("3", ["7", "8", "9"]), ("all", None)])
def test_tail(cli: Client, tail: str, expected: list[str] | None) -> None:
    cli("run", "--name", "tail", BUSYBOX, "seq", "0", "9").ok()
    wanted = [str(number) for number in range(10)] if expected is None else expected
    assert cli("logs", "--tail", tail, "tail").ok().out.splitlines() == wanted


def test_follow_ends_with_the_container(cli: Client) -> None:
    cli("run", "-d", "--name", "follow", BUSYBOX, "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done").ok()
    assert cli("logs", "-f", "follow").ok().out == "1\n2\n3\n"


def test_follow_shows_lines_as_they_come(cli: Client) -> None:
    cli("run", "-d", "-i", "--name", "live", BUSYBOX, "sh", "-c", "echo first; read x; echo got $x; sleep 100").ok()
    process = cli.popen("logs", "-f", "live")
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    feeder = cli.popen("attach", "live")
    assert feeder.stdin is not None
    feeder.stdin.write(b"word\n")
    feeder.stdin.flush()
    assert process.stdout.readline() == b"got word\n"
    for each in (process, feeder):
        each.kill()
        each.communicate()


def test_timestamps(cli: Client) -> None:
    cli("run", "--name", "stamped", BUSYBOX, "echo", "hi").ok()
    line = cli("logs", "-t", "stamped").ok().line
    stamp, text = line.split(" ", 1)
    assert text == "hi"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", stamp)
    age = datetime.now(UTC) - datetime.fromisoformat(stamp[:26] + "+00:00")
    assert abs(age.total_seconds()) < 60


def test_since_and_until(cli: Client) -> None:
    cli("run", "--name", "times", BUSYBOX, "sh", "-c", "echo a; sleep 0.4; echo b; sleep 0.4; echo c").ok()
    stamps = [line.split()[0] for line in cli("logs", "-t", "times").ok().out.splitlines()]
    assert cli("logs", "--since", stamps[1], "times").ok().out == "b\nc\n"
    assert cli("logs", "--until", stamps[1], "times").ok().out in ("a\n", "a\nb\n")
    assert cli("logs", "--since", "1h", "times").ok().out == "a\nb\nc\n"
    assert cli("logs", "--until", "1h", "times").ok().out == ""
    epoch = str(int(time.time()) + 100)
    assert cli("logs", "--since", epoch, "times").ok().out == ""


def test_a_line_without_an_end(cli: Client) -> None:
    cli("run", "--name", "partial", BUSYBOX, "printf", "no end").ok()
    assert cli("logs", "partial").ok().out == "no end"


def test_a_very_long_line(cli: Client) -> None:
    cli("run", "--name", "long", BUSYBOX, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end").ok()
    assert cli("logs", "long").ok().out == "x" * 100000 + "\nend\n"
    assert cli("logs", "--tail", "1", "long").ok().out == "end\n"


def test_bytes_that_are_no_text(cli: Client) -> None:
    cli("run", "--name", "bytes", BUSYBOX, "printf", r"\377\000\001\n").ok()
    assert cli("logs", "bytes").ok().raw == b"\xff\x00\x01\n"


def test_logs_across_restarts(cli: Client) -> None:
    cli("run", "--name", "rerun", BUSYBOX, "echo", "hi").ok()
    cli("start", "-a", "rerun").ok()
    assert cli("logs", "rerun").ok().out == "hi\nhi\n"


def test_attach_shows_what_comes_and_returns_the_status(cli: Client) -> None:
    cli("run", "-di", "--name", "att", BUSYBOX, "sh", "-c", "echo before; read x; echo $x; exit 5").ok()
    wait_until(lambda: "before" in cli("logs", "att").out, what="the first line")
    done = cli("attach", "att", input="typed\n")
    assert done.status == 5
    assert done.out == "typed\n"


def test_attach_refuses_what_does_not_run(cli: Client) -> None:
    cli("create", "--name", "still", BUSYBOX, "true").ok()
    done = cli("attach", "still")
    assert done.status == 1
    assert "cannot attach to a stopped container, start it first" in done.err


def test_log_driver_none(cli: Client) -> None:
    cli("run", "--name", "silent", "--log-driver", "none", BUSYBOX, "echo", "hi").ok()
    done = cli("logs", "silent")
    assert done.status == 1
    assert "configured logging driver does not support reading" in done.err
