"""`attach`: the terminal of a container that runs."""

from __future__ import annotations

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.terminal.attach import follow
from darse.client.requests import containers


def attach(invocation: Invocation) -> int:
    """Be the terminal of a running container."""
    options, client = invocation.options, invocation.client
    (name,) = invocation.arguments
    container = client.do(containers.inspect(name))
    state, config = container["State"], container["Config"]
    if not state["Running"]:
        raise CliError("You cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise CliError("You cannot attach to a paused container, unpause it first")
    return follow(
        client,
        name,
        name=name,
        tty=config["Tty"],
        stdin=config["OpenStdin"] and not options.no_stdin,
        keys=options.detach_keys or invocation.settings.member("detachKeys", str),
        proxy_signals=options.sig_proxy,
        condition="next-exit",
        redraw=True,
        may_detach=False,
    )


COMMANDS = {
    "container attach": (
        Command(
            "container attach",
            "[OPTIONS] CONTAINER",
            "Attach local standard input, output, and error streams to a running container",
            (
                string("detach-keys", "Override the key sequence for detaching a container"),
                switch("no-stdin", "Do not attach STDIN"),
                switch("sig-proxy", "Proxy all received signals to the process", default=True),
            ),
            minimum=1,
            maximum=1,
        ),
        attach,
    )
}
