"""`system backup` and `restore`: the engine's data as one archive. `darsed` does it itself, while no engine runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from darse.cli.command_line.flags import Command, string
from darse.cli.command_line.invocation import Invocation

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def backup(invocation: Invocation) -> int:
    """Write the archive; the status is 1 when an engine runs, or it cannot be written."""
    return _engine("backup", invocation)


def restore(invocation: Invocation) -> int:
    """Unpack it; the status is 1 when there is data already."""
    return _engine("restore", invocation)


def _engine(what: str, invocation: Invocation) -> int:
    options = invocation.options
    (file,) = invocation.arguments
    given = {"data-root": options.data_root, "exec-root": options.exec_root, "config-file": options.config_file}
    flags = [f"--{name}={value}" for name, value in given.items() if value]
    command = [sys.executable, "-m", "darse.daemon", f"--{what}={os.path.abspath(file)}", *flags]
    with subprocess.Popen(command) as engine:
        # It removes what is half made.
        former = {number: signal.signal(number, lambda number, _: engine.send_signal(number)) for number in _ENDS}
        try:
            return engine.wait()
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


_ROOTS = (
    string("data-root", "The engine's, where it is not that of its configuration"),
    string("exec-root", "The engine's, where it is not that of its configuration"),
    string("config-file", "The engine's configuration file"),
)

COMMANDS = {
    "system backup": (
        Command(
            "system backup",
            "[OPTIONS] FILE",
            "Write the engine's data into an archive, while no engine runs",
            _ROOTS,
            1,
            1,
            examples="sudo systemctl stop darsed.socket darsed.service\nsudo darse system backup darse.tar.zst",
        ),
        backup,
    ),
    "system restore": (
        Command(
            "system restore",
            "[OPTIONS] FILE",
            "Unpack the archive of 'system backup' where there is no data yet",
            _ROOTS,
            1,
            1,
            examples="sudo darse system restore darse.tar.zst",
        ),
        restore,
    ),
}
