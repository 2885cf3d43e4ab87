"""`system restart`: the engine of this machine, stopped in order and started again with the options it has.

The new engine is the one of this command's installation: after an upgrade this is how it comes into use.
"""

from __future__ import annotations

import os
import select
import signal
import sys

from darse.cli.command_line.flags import Command
from darse.cli.command_line.invocation import Invocation
from darse.cli.engine.start_engine import start
from darse.cli.errors import CliError
from darse.client.blocking import Connection
from darse.client.connection import peer

_TIMEOUT_SECONDS = 60


def restart(invocation: Invocation) -> int:
    """Restart the engine. Raises CliError when it is not this machine's, or a service manager's."""
    endpoint = invocation.settings.endpoint()
    scheme, _, path = endpoint.host.partition("://")
    if scheme != "unix":
        raise CliError(
            f"the engine at {endpoint.host} is restarted where it runs: only one on a unix socket can be from here"
        )
    if os.geteuid() != 0:
        raise CliError("only root can restart the engine: sudo darse system restart")
    connection = Connection(endpoint, may_start=False)
    pid = peer(connection.socket)
    connection.close()
    words, environment = _command_of(pid)
    # The program that reads it is the engine itself, or Python with the engine as its module.
    names = [position for position, word in enumerate(words) if os.path.basename(word) in ("darsed", "darse.daemon")]
    if not names:
        raise CliError(f"what serves {path} (process {pid}) is no darsed: restart it by what started it")
    if "INVOCATION_ID" in environment:
        raise CliError("systemd has started this engine: systemctl restart darsed")
    _stop(pid)
    start(os.path.join(os.path.dirname(path), "darsed.log"), words[names[0] + 1 :], environment)
    sys.stdout.write("the engine was restarted; containers ran on\n")
    return 0


def _command_of(pid: int) -> tuple[list[str], dict[str, str]]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = [os.fsdecode(entry).partition("=") for entry in file.read().split(b"\0") if entry]
    except OSError as error:
        raise CliError(f"cannot find out how the engine (process {pid}) was started: {error.strerror}") from error
    return words, {name: value for name, _, value in entries}


def _stop(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        ended, _, _ = select.select([pidfd], [], [], _TIMEOUT_SECONDS)
    finally:
        os.close(pidfd)
    if not ended:
        raise CliError(f"the engine (process {pid}) did not stop within {_TIMEOUT_SECONDS} s; it was not restarted")


COMMANDS = {
    "system restart": (
        Command("system restart", "", "Restart the engine of this machine; containers run on"),
        restart,
    )
}
