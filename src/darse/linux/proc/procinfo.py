"""A process as /proc describes it: the source of `top`. See proc_pid_stat(5), proc_pid_status(5)."""

from __future__ import annotations

import os
from typing import Final

import msgspec

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# A process may have megabytes of arguments; ps(1) shows as many.
_MOST_ARGUMENTS: Final = 128 * 1024


def boot_id() -> str:
    """What tells this boot of the machine from all others; see random(4)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


class ProcessInfo(msgspec.Struct, frozen=True):
    """One process. Times are in clock ticks, the start's since boot; sizes in bytes."""

    pid: int
    command: str
    arguments: list[str]
    state: str
    parent: int
    group: int
    session: int
    terminal: int
    foreground_group: int
    user_ticks: int
    kernel_ticks: int
    priority: int
    nice: int
    threads: int
    start_ticks: int
    virtual: int
    resident: int
    processor: int
    real_uid: int
    uid: int
    real_gid: int
    gid: int
    locked: bool


def read_process(pid: int) -> ProcessInfo | None:
    """Read one process; None when it has ended."""
    try:
        stat = _read(f"/proc/{pid}/stat", 4096)
        status = _read(f"/proc/{pid}/status", 16384)
        arguments = _read(f"/proc/{pid}/cmdline", _MOST_ARGUMENTS)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in parentheses and may itself contain anything.
    name = stat[stat.index(b"(") + 1 : stat.rindex(b")")]
    fields = stat[stat.rindex(b")") + 2 :].split()
    facts = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
    uids, gids = facts[b"Uid"].split(), facts[b"Gid"].split()
    return ProcessInfo(
        pid=pid,
        command=_text(name),
        arguments=[_text(one) for one in arguments.rstrip(b"\0").split(b"\0")] if arguments else [],
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        terminal=int(fields[4]),
        foreground_group=int(fields[5]),
        user_ticks=int(fields[11]),
        kernel_ticks=int(fields[12]),
        priority=int(fields[15]),
        nice=int(fields[16]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        virtual=int(fields[20]),
        # The other's is behind by what each processor has not added up yet.
        resident=int(facts.get(b"VmRSS", b"0").split()[0]) * 1024,
        processor=int(fields[36]),
        real_uid=int(uids[0]),
        uid=int(uids[1]),
        real_gid=int(gids[0]),
        gid=int(gids[1]),
        locked=facts.get(b"VmLck", b"0").split()[0] != b"0",
    )


def _read(path: str, most: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while len(data) < most and (piece := os.read(descriptor, most - len(data))):
            data += piece
        return data
    finally:
        os.close(descriptor)


def _text(raw: bytes) -> str:
    """What a terminal may show: a container chooses its processes' names, and could write escape sequences."""
    return "".join(one if one.isprintable() else "?" for one in raw.decode(errors="replace"))
