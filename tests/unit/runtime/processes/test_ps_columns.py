"""The columns of ps, from facts about processes."""

from __future__ import annotations

from typing import Any

import pytest

from darse.linux.proc.procinfo import TICKS, ProcessInfo
from darse.runtime.processes.ps_columns import Moment, choose, row

NOON = Moment(now=1_700_000_000.0, uptime=1_000_000.0, memory=1000 << 20)


def process(**changes: Any) -> ProcessInfo:
    values: dict[str, Any] = {
        "pid": 42,
        "command": "server",
        "arguments": ["/bin/server", "--port", "80"],
        "state": "S",
        "parent": 7,
        "group": 42,
        "session": 42,
        "terminal": 0,
        "foreground_group": -1,
        "user_ticks": 0,
        "kernel_ticks": 0,
        "priority": 20,
        "nice": 0,
        "threads": 1,
        "start_ticks": int((NOON.uptime - 100) * TICKS),
        "virtual": 8 << 20,
        "resident": 10 << 20,
        "processor": 1,
        "real_uid": 0,
        "uid": 0,
        "real_gid": 0,
        "gid": 0,
        "locked": False,
    }
    return ProcessInfo(**{**values, **changes})


@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
        ("-e -f", "UID PID PPID C STIME TTY TIME CMD"),
        ("-efww", "UID PID PPID C STIME TTY TIME CMD"),
        ("-F", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
        ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("auxww", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("-A", "PID TTY TIME CMD"),
        ("ax", "PID TTY STAT TIME COMMAND"),
        ("-o pid,comm", "PID COMMAND"),
        ("-eo pid,user,args", "PID USER COMMAND"),
        ("-opid -oppid", "PID PPID"),
        ("axo pid,%cpu,%mem", "PID %CPU %MEM"),
    ],
)
def test_titles_are_those_of_ps(arguments: str, titles: str) -> None:
    columns = choose(arguments)
    assert columns is not None
    assert [column.title for column in columns] == titles.split()


@pytest.mark.parametrize(
    "arguments", ["-ef --forest", "f", "-L", "-o pid=NUMBER", "-o nonsense", "-u root", "--sort=pid", "-", "-ef -o pid"]
)
def test_the_rest_of_its_grammar_is_left_to_ps(arguments: str) -> None:
    assert choose(arguments) is None


@pytest.mark.parametrize(
    ("column", "changes", "text"),
    [
        ("cmd", {}, "/bin/server --port 80"),
        ("cmd", {"arguments": []}, "[server]"),
        ("cmd", {"arguments": [], "state": "Z"}, "[server] <defunct>"),
        ("comm", {}, "server"),
        ("tty", {}, "?"),
        ("tty", {"terminal": 136 << 8}, "pts/0"),
        ("tty", {"terminal": 136 << 8 | 5}, "pts/5"),
        ("tty", {"terminal": 4 << 8 | 1}, "tty1"),
        ("tty", {"terminal": 4 << 8 | 64}, "ttyS0"),
        ("stat", {}, "Ss"),
        ("stat", {"session": 1, "threads": 3, "foreground_group": 42, "nice": -5}, "S<l+"),
        ("stat", {"nice": 5, "locked": True}, "SNLs"),
        ("time", {"user_ticks": 3661 * TICKS}, "01:01:01"),
        ("time", {"user_ticks": 90061 * TICKS}, "1-01:01:01"),
        ("bsdtime", {"kernel_ticks": 605 * TICKS}, "10:05"),
        ("pcpu", {"user_ticks": 25 * TICKS}, "25.0"),
        ("pcpu", {"user_ticks": 250 * TICKS}, "250"),
        ("c", {"user_ticks": 250 * TICKS}, "99"),
        ("pmem", {}, "1.0"),
        ("vsz", {}, "8192"),
        ("rss", {}, "10240"),
        ("etime", {}, "01:40"),
        ("etimes", {}, "100"),
        ("user", {"uid": 4_000_000_000}, "4000000000"),
        ("user", {}, "root"),
    ],
)
def test_cells(column: str, changes: dict[str, Any], text: str) -> None:
    columns = choose(f"-o {column}")
    assert columns is not None
    assert row(columns, process(**changes), NOON) == [text]


def test_the_start_is_an_hour_a_day_or_a_year() -> None:
    columns = choose("-o stime,bsdstart")
    assert columns is not None
    today, _ = row(columns, process(start_ticks=int((NOON.uptime - 1) * TICKS)), NOON)
    assert ":" in today
    stime, start = row(columns, process(start_ticks=int((NOON.uptime - 5 * 86400) * TICKS)), NOON)
    assert (stime, start) == ("Nov09", "Nov09")
    long_ago = Moment(NOON.now, 400 * 86400.0, NOON.memory)
    assert row(columns, process(start_ticks=0), long_ago)[0] == "2022"
