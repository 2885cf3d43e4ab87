"""Messages to the service manager, and its sockets: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).

A few lines of our own instead of libsystemd: the protocol is a datagram, and two variables of the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time

_FIRST_PASSED = 3  # SD_LISTEN_FDS_START
# How long systemctl(1) may take; the stop of this process waits for it.
_ANSWER_SECONDS = 5
_log = logging.getLogger("darse.linux")


def notify(state: str) -> None:
    """Send a message, as READY=1; nobody may be listening."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client, contextlib.suppress(OSError):
        client.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def notify_reloading() -> None:
    """Say that the configuration is read again: READY=1 ends that."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float:
    """After how long without a message the service manager takes this process for stuck; 0: never."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() else 0


async def keep_watchdog(seconds: float) -> None:
    """Say, for as long as the event loop turns, that it does; twice in each interval of `seconds`."""
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds / 2)


def passed_sockets() -> list[socket.socket]:
    """The sockets that the service manager has opened for this process; none is inherited further."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    found = []
    for number in range(int(os.environ.get("LISTEN_FDS", "0"))):
        passed = socket.socket(fileno=_FIRST_PASSED + number)
        passed.set_inheritable(False)
        found.append(passed)
    return found


async def machine_stops() -> bool:
    """Whether systemd, when it has started this process, takes the machine down: off, reboot or kexec.

    See systemctl(1), `is-system-running`.
    """
    if "INVOCATION_ID" not in os.environ:
        return False
    devnull = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            "systemctl", "is-system-running", stdin=devnull, stdout=asyncio.subprocess.PIPE, stderr=devnull
        )
    except OSError as error:
        _log.warning("whether the machine is taken down is not known: %s", error)
        return False
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _ANSWER_SECONDS)
    except TimeoutError:
        _log.warning("whether the machine is taken down is not known: systemctl does not answer")
        process.kill()
        await process.wait()
        return False
    return output.strip() == b"stopping"
