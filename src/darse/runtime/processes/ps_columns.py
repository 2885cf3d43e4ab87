"""Processes as ps(1) of procps shows them: its columns, by its names, for the options that people use.

`-ef`, `aux`, `-o LIST` and their relatives are answered from /proc, so no ps has to be installed and no process is
spawned. What is read here is a small part of ps's grammar; `choose()` returns None for the rest.
"""

from __future__ import annotations

import grp
import pwd
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import msgspec

from darse.linux.proc.procinfo import PAGE, TICKS, ProcessInfo

_NAME_WIDTH: Final = 8
_DAY: Final = 86400


class Moment(msgspec.Struct, frozen=True):
    """When the table is made: seconds since the epoch and since boot; and the host's memory in bytes."""

    now: float
    uptime: float
    memory: int


Cell = Callable[[ProcessInfo, Moment], str]


class Column(msgspec.Struct, frozen=True):
    """A column: its title and what stands in it."""

    title: str
    cell: Cell


def choose(arguments: str) -> list[Column] | None:
    """The columns that ps's `arguments` ask for; None when they ask for something that only ps itself can do."""
    words = arguments.split()
    listed: list[Column] = []
    layout: list[Column] | None = None
    while words:
        word = words.pop(0)
        dashed = word.startswith("-")
        letters = word.removeprefix("-")
        if not letters or letters.startswith("-"):
            return None
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter == "o":
                names = letters or (words.pop(0) if words else "")
                letters = ""
                columns = [_COLUMNS.get(name) for name in names.split(",")]
                if not all(columns):
                    return None
                listed += [column for column in columns if column is not None]
            elif letter in "fFu":
                layout = _LAYOUTS.get((dashed, letter))
                if layout is None:
                    return None
            # Which processes: the container's, all of them. How wide: as wide as they are.
            elif letter not in ("eAw" if dashed else "axgw"):
                return None
    if listed:
        return listed if layout is None else None  # ps refuses both
    return layout or [_named(name) for name in (_PLAIN if arguments.strip().startswith("-") else _PLAIN_BSD)]


def row(columns: Sequence[Column], process: ProcessInfo, moment: Moment) -> list[str]:
    """One line of the table."""
    return [column.cell(process, moment) for column in columns]


def _elapsed(process: ProcessInfo, moment: Moment) -> int:
    return max(0, int(moment.uptime - process.start_ticks / TICKS))


def _started(process: ProcessInfo, moment: Moment) -> time.struct_time:
    return time.localtime(moment.now - moment.uptime + process.start_ticks / TICKS)


def _ticks(process: ProcessInfo) -> int:
    return process.user_ticks + process.kernel_ticks


def _percent(tenths: int) -> str:
    return f"{tenths // 10}" if tenths > 999 else f"{tenths // 10}.{tenths % 10}"


def _cpu_percent(process: ProcessInfo, moment: Moment) -> str:
    elapsed = _elapsed(process, moment)
    return _percent(_ticks(process) * 1000 // TICKS // elapsed if elapsed else 0)


def _cpu_whole(process: ProcessInfo, moment: Moment) -> str:
    elapsed = _elapsed(process, moment)
    return str(min(99, _ticks(process) * 100 // TICKS // elapsed) if elapsed else 0)


def _memory_percent(process: ProcessInfo, moment: Moment) -> str:
    return _percent(min(999, process.resident * 1000 // moment.memory))


def _clock(seconds: int) -> str:
    days, rest = divmod(seconds, _DAY)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{text}" if days else text


def _time(process: ProcessInfo, _: Moment) -> str:
    return _clock(_ticks(process) // TICKS)


def _short_time(process: ProcessInfo, _: Moment) -> str:
    seconds = _ticks(process) // TICKS
    return f"{seconds // 60}:{seconds % 60:02d}"


def _elapsed_text(process: ProcessInfo, moment: Moment) -> str:
    text = _clock(_elapsed(process, moment))
    return text.removeprefix("00:")


def _start_of_day(process: ProcessInfo, moment: Moment) -> str:
    """STIME: the hour today, the day this year, else the year."""
    started, now = _started(process, moment), time.localtime(moment.now)
    if started.tm_year != now.tm_year:
        return time.strftime("%Y", started)
    return time.strftime("%H:%M" if started.tm_yday == now.tm_yday else "%b%d", started)


def _start_within_day(process: ProcessInfo, moment: Moment) -> str:
    """START of `aux`: the hour within a day, else the day."""
    return time.strftime("%H:%M" if _elapsed(process, moment) <= _DAY else "%b%d", _started(process, moment))


def _start_exact(process: ProcessInfo, moment: Moment) -> str:
    return time.strftime("%H:%M:%S" if _elapsed(process, moment) <= _DAY else "%b %d", _started(process, moment))


def _start_long(process: ProcessInfo, moment: Moment) -> str:
    return time.strftime("%a %b %e %H:%M:%S %Y", _started(process, moment))


def _state(process: ProcessInfo, _: Moment) -> str:
    """The state and what procps adds to it."""
    text = process.state
    if process.nice:
        text += "<" if process.nice < 0 else "N"
    if process.locked:
        text += "L"
    if process.session == process.pid:
        text += "s"
    if process.threads > 1:
        text += "l"
    if process.foreground_group == process.group:
        text += "+"
    return text


def _terminal(process: ProcessInfo, _: Moment) -> str:
    """The controlling terminal by its device number (admin-guide/devices.txt); containers have those of devpts."""
    device = process.terminal
    if device == 0:
        return "?"
    major, minor = (device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xFFF00)
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return "?"


def _arguments(process: ProcessInfo, _: Moment) -> str:
    """The command line; a zombie and a kernel's thread have none."""
    text = " ".join(process.arguments).strip()
    if not text:
        text = f"[{process.command}]"
    return f"{text} <defunct>" if process.state == "Z" else text


def _command(process: ProcessInfo, _: Moment) -> str:
    return f"{process.command} <defunct>" if process.state == "Z" else process.command


def _fitted(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}+"


@cache
def _user_name(uid: int) -> str:
    try:
        return _fitted(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return str(uid)


@cache
def _group_name(gid: int) -> str:
    try:
        return _fitted(grp.getgrgid(gid).gr_name)
    except KeyError:
        return str(gid)


def clear_name_cache() -> None:
    """Look users and groups up anew: /etc/passwd may have changed since the last table."""
    _user_name.cache_clear()
    _group_name.cache_clear()


def _number(attribute: str) -> Cell:
    return lambda process, _: str(getattr(process, attribute))


def _user(attribute: str) -> Cell:
    return lambda process, _: _user_name(getattr(process, attribute))


def _group(attribute: str) -> Cell:
    return lambda process, _: _group_name(getattr(process, attribute))


# Title and cell by the names that `-o` takes (ps(1), STANDARD FORMAT SPECIFIERS).
_SPECIFIERS: Final[tuple[tuple[str, str, Cell], ...]] = (
    ("pid tgid", "PID", _number("pid")),
    ("ppid", "PPID", _number("parent")),
    ("pgid", "PGID", _number("group")),
    ("pgrp", "PGRP", _number("group")),
    ("sid", "SID", _number("session")),
    ("sess session", "SESS", _number("session")),
    ("tpgid", "TPGID", _number("foreground_group")),
    ("user uname", "USER", _user("uid")),
    ("euser", "EUSER", _user("uid")),
    ("ruser", "RUSER", _user("real_uid")),
    ("uid", "UID", _number("uid")),
    ("euid", "EUID", _number("uid")),
    ("ruid", "RUID", _number("real_uid")),
    ("gid", "GID", _number("gid")),
    ("egid", "EGID", _number("gid")),
    ("rgid", "RGID", _number("real_gid")),
    ("group", "GROUP", _group("gid")),
    ("egroup", "EGROUP", _group("gid")),
    ("rgroup", "RGROUP", _group("real_gid")),
    ("comm ucomm", "COMMAND", _command),
    ("ucmd", "CMD", _command),
    ("args command", "COMMAND", _arguments),
    ("cmd", "CMD", _arguments),
    ("time cputime", "TIME", _time),
    ("bsdtime", "TIME", _short_time),
    ("times cputimes", "TIME", lambda process, _: str(_ticks(process) // TICKS)),
    ("etime", "ELAPSED", _elapsed_text),
    ("etimes", "ELAPSED", lambda process, moment: str(_elapsed(process, moment))),
    ("stat", "STAT", _state),
    ("s state", "S", _number("state")),
    ("pcpu %cpu", "%CPU", _cpu_percent),
    ("c", "C", _cpu_whole),
    ("pmem %mem", "%MEM", _memory_percent),
    ("vsz vsize", "VSZ", lambda process, _: str(process.virtual // 1024)),
    ("rss rssize", "RSS", lambda process, _: str(process.resident // 1024)),
    ("rsz", "RSZ", lambda process, _: str(process.resident // 1024)),
    ("sz", "SZ", lambda process, _: str(process.virtual // PAGE)),
    ("tty tt", "TT", _terminal),
    ("tname", "TTY", _terminal),
    ("ni nice", "NI", _number("nice")),
    ("pri", "PRI", lambda process, _: str(39 - process.priority)),
    ("nlwp", "NLWP", _number("threads")),
    ("thcount", "THCNT", _number("threads")),
    ("psr", "PSR", _number("processor")),
    ("stime", "STIME", _start_of_day),
    ("start_time bsdstart", "START", _start_within_day),
    ("start", "STARTED", _start_exact),
    ("lstart", "STARTED", _start_long),
)
_COLUMNS: Final = {name: Column(title, cell) for names, title, cell in _SPECIFIERS for name in names.split()}


def _named(name: str) -> Column:
    return _COLUMNS[name]


def _layout(*columns: str | Column) -> list[Column]:
    return [_COLUMNS[one] if isinstance(one, str) else one for one in columns]


# `-f` calls the user UID, and shows names.
_UID: Final = Column("UID", _user("uid"))
_PLAIN: Final = ("pid", "tname", "time", "ucmd")
_PLAIN_BSD: Final = ("pid", "tname", "stat", "bsdtime", "command")
_LAYOUTS: Final = {
    (True, "f"): _layout(_UID, "pid", "ppid", "c", "stime", "tname", "time", "cmd"),
    (True, "F"): _layout(_UID, "pid", "ppid", "c", "sz", "rss", "psr", "stime", "tname", "time", "cmd"),
    (False, "u"): _layout(
        "user", "pid", "pcpu", "pmem", "vsz", "rss", "tname", "stat", "bsdstart", "bsdtime", "command"
    ),
}
