"""Commands that do one thing to each container they name."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, number, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import ApiError, CliError, ConnectionFailed
from darse.client.blocking import Reconnection
from darse.client.requests import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from darse.client.requests import ApiRequest


def _named(name: str) -> str:
    if not name.strip("/ "):
        raise CliError("invalid container name or ID: value is empty")
    return name


def stop(invocation: Invocation) -> int:
    """Stop containers."""
    return _stop_like(invocation, containers.stop)


def restart(invocation: Invocation) -> int:
    """Restart containers."""
    return _stop_like(invocation, containers.restart)


def _stop_like(invocation: Invocation, operation: Callable[..., ApiRequest[None, None]]) -> int:
    options = invocation.options
    seconds = options.timeout if options.timeout is not None else options.time
    return invocation.for_each(
        lambda name: invocation.client.do(operation(_named(name), seconds=seconds, signal=options.signal))
    )


def kill(invocation: Invocation) -> int:
    """Send a signal to containers."""
    signal = invocation.options.signal or "KILL"
    return invocation.for_each(lambda name: invocation.client.do(containers.kill(_named(name), signal=signal)))


def pause(invocation: Invocation) -> int:
    """Freeze containers."""
    return invocation.for_each(lambda name: invocation.client.do(containers.pause(_named(name))))


def unpause(invocation: Invocation) -> int:
    """Let containers go on."""
    return invocation.for_each(lambda name: invocation.client.do(containers.unpause(_named(name))))


def remove(invocation: Invocation) -> int:
    """Remove containers; with --force a missing one is no failure."""
    options = invocation.options

    def one(name: str) -> None:
        try:
            invocation.client.do(
                containers.remove(_named(name), force=options.force, volumes=options.volumes, link=options.link)
            )
        except ApiError as error:
            if options.force and error.http_status == 404:
                # What is to be gone is gone; docker says so and succeeds.
                raise CliError(str(error), 0) from error
            raise

    return invocation.for_each(one)


def rename(invocation: Invocation) -> int:
    """Rename a container."""
    old, new = (name.strip() for name in invocation.arguments)
    if not old or not new:
        raise CliError("Error: Neither old nor new names may be empty")
    try:
        invocation.client.do(containers.rename(_named(old), new))
    except ApiError as error:
        raise CliError(f"{error}\nError: failed to rename container named {old}") from error
    return 0


def wait(invocation: Invocation) -> int:
    """Wait for containers and print their exit codes, also when the engine goes away meanwhile and comes back."""

    def one(name: str) -> None:
        reconnection = Reconnection(invocation.client)
        while True:
            try:
                result = invocation.client.open(containers.wait(_named(name))).json()
                break
            except ConnectionFailed as lost:
                reconnection.wait(lost, f"the engine went away; {name} runs on: `darse wait {name}`")
        sys.stdout.write(f"{result['StatusCode']}\n")

    return invocation.for_each(one, show=False)


_MANY = "CONTAINER [CONTAINER...]"
_STOP_FLAGS = (
    string("signal", "Signal to send to the container", "s"),
    number("timeout", "Seconds to wait before killing the container", "t"),
    number("time", "Seconds to wait before killing the container"),
)
COMMANDS = {
    "container stop": (
        Command("container stop", f"[OPTIONS] {_MANY}", "Stop one or more running containers", _STOP_FLAGS, 1, None),
        stop,
    ),
    "container restart": (
        Command("container restart", f"[OPTIONS] {_MANY}", "Restart one or more containers", _STOP_FLAGS, 1, None),
        restart,
    ),
    "container kill": (
        Command(
            "container kill",
            f"[OPTIONS] {_MANY}",
            "Kill one or more running containers",
            (string("signal", "Signal to send to the container", "s"),),
            1,
            None,
        ),
        kill,
    ),
    "container pause": (
        Command("container pause", _MANY, "Pause all processes within one or more containers", (), 1, None),
        pause,
    ),
    "container unpause": (
        Command("container unpause", _MANY, "Unpause all processes within one or more containers", (), 1, None),
        unpause,
    ),
    "container rm": (
        Command(
            "container rm",
            f"[OPTIONS] {_MANY}",
            "Remove one or more containers",
            (
                switch("force", "Force the removal of a running container (uses SIGKILL)", "f"),
                switch("link", "Remove the specified link", "l"),
                switch("volumes", "Remove anonymous volumes associated with the container", "v"),
            ),
            1,
            None,
        ),
        remove,
    ),
    "container rename": (
        Command("container rename", "CONTAINER NEW_NAME", "Rename a container", (), 2, 2),
        rename,
    ),
    "container wait": (
        Command(
            "container wait", _MANY, "Block until one or more containers stop, then print their exit codes", (), 1, None
        ),
        wait,
    ),
}
