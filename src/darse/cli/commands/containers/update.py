"""`update`: other limits for containers."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, string
from darse.cli.command_line.invocation import Invocation
from darse.cli.creating.flags import SHARED
from darse.cli.creating.limits import limits, restart_policy
from darse.cli.errors import CliError
from darse.client.requests import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.observation import UpdateRequestDocument

_LIMITS = frozenset(
    {
        *("blkio-weight", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-shares", "cpus"),
        *("cpuset-cpus", "cpuset-mems", "kernel-memory", "memory", "memory-reservation", "memory-swap", "pids-limit"),
    }
)


def update(invocation: Invocation) -> int:
    """Change limits; print the names of those that were changed."""
    options = invocation.options
    if not options.given:
        raise CliError("you must provide one or more flags when using this command")
    body = limits(options)
    if options.restart:
        with_policy: UpdateRequestDocument = {**body, "RestartPolicy": restart_policy(options.restart)}
        body = with_policy
    warnings: list[str] = []

    def one(name: str) -> None:
        answer = invocation.client.do(containers.update(name, body))
        warnings.extend(answer.get("Warnings") or ())

    status = invocation.for_each(one)
    for warning in warnings:
        sys.stdout.write(f"{warning}\n")
    return status


COMMANDS = {
    "container update": (
        Command(
            "container update",
            "[OPTIONS] CONTAINER [CONTAINER...]",
            "Update configuration of one or more containers",
            (
                *(flag for flag in SHARED if flag.name in _LIMITS),
                string("restart", "Restart policy to apply when a container exits"),
            ),
            1,
            None,
        ),
        update,
    )
}
