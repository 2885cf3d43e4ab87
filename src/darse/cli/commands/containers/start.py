"""`start`."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.terminal.attach import follow
from darse.client.http import quote


def start(invocation: Invocation) -> int:
    """Start containers; with -a or -i one, and be its terminal."""
    options, client = invocation.options, invocation.client
    if options.checkpoint and len(invocation.arguments) > 1:
        raise CliError("you cannot restore multiple containers at once")
    place = {"checkpoint": options.checkpoint, "checkpoint-dir": options.checkpoint_dir}
    wanted = {name: value for name, value in place.items() if value}
    if not (options.attach or options.interactive):
        failed: list[str] = []

        def one(name: str) -> None:
            try:
                client.call("POST", f"/containers/{quote(name)}/start", query=wanted)
            except CliError:
                failed.append(name)
                raise

        status = invocation.for_each(one)
        if failed:
            sys.stderr.write(f"Error: failed to start containers: {', '.join(failed)}\n")
        return status
    if len(invocation.arguments) > 1:
        raise CliError("you cannot start and attach multiple containers at once")
    path = f"/containers/{quote(invocation.arguments[0])}"
    container = client.call("GET", f"{path}/json")
    config = container["Config"]
    return follow(
        client,
        path,
        name=invocation.arguments[0],
        tty=config["Tty"],
        stdin=options.interactive and config["OpenStdin"],
        keys=options.detach_keys or invocation.settings.member("detachKeys", str),
        proxy_signals=options.sig_proxy,
        condition="removed" if container["HostConfig"]["AutoRemove"] else "next-exit",
        begin=lambda: client.call("POST", f"{path}/start", query=wanted),
    )


COMMANDS = {
    "container start": (
        Command(
            "container start",
            "[OPTIONS] CONTAINER [CONTAINER...]",
            "Start one or more stopped containers",
            (
                switch("attach", "Attach STDOUT/STDERR and forward signals", "a"),
                string("checkpoint", "Restore from this checkpoint"),
                string("checkpoint-dir", "Use a custom checkpoint storage directory"),
                string("detach-keys", "Override the key sequence for detaching a container"),
                switch("interactive", "Attach container's STDIN", "i"),
                switch("sig-proxy", "Proxy received signals to the process", default=True),
            ),
            minimum=1,
            maximum=None,
        ),
        start,
    )
}
