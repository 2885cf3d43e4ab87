"""`start`: stopped containers run again; with `-a` or `-i` the command is the terminal of one."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.terminal.attach import follow
from darse.client.requests import containers


def start(invocation: Invocation) -> int:
    """Start containers; with -a or -i one, and be its terminal."""
    options, client = invocation.options, invocation.client
    if options.checkpoint and len(invocation.arguments) > 1:
        raise CliError("you cannot restore multiple containers at once")

    def start_one(name: str) -> None:
        request = containers.start(name, checkpoint=options.checkpoint, checkpoint_directory=options.checkpoint_dir)
        client.do(request)

    if not (options.attach or options.interactive):
        failed: list[str] = []

        def one(name: str) -> None:
            try:
                start_one(name)
            except CliError:
                failed.append(name)
                raise

        status = invocation.for_each(one)
        if failed:
            sys.stderr.write(f"Error: failed to start containers: {', '.join(failed)}\n")
        return status
    if len(invocation.arguments) > 1:
        raise CliError("you cannot start and attach multiple containers at once")
    (name,) = invocation.arguments
    container = client.do(containers.inspect(name))
    config = container["Config"]
    return follow(
        client,
        name,
        name=name,
        tty=config["Tty"],
        stdin=options.interactive and config["OpenStdin"],
        keys=options.detach_keys or invocation.settings.member("detachKeys", str),
        proxy_signals=options.sig_proxy,
        condition="removed" if container["HostConfig"]["AutoRemove"] else "next-exit",
        begin=lambda: start_one(name),
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
