"""`exec`: a further process in a running container, whose status is the command's."""

from __future__ import annotations

from darse.cli.command_line.flags import Command, listing, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.creating.environment import environment
from darse.cli.errors import ConnectionFailed, ConnectionLost
from darse.cli.terminal.modes import require_terminal_for, size
from darse.cli.terminal.session import Detached, Session
from darse.client.requests import execs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.blocking import Client
    from darse.client.documents.containers import ExecConfigDocument


def execute(invocation: Invocation) -> int:
    """Run a process in a running container, and end with its status."""
    options, client = invocation.options, invocation.client
    if not options.detach:
        require_terminal_for(options.interactive, options.tty)
    name, *command = invocation.arguments
    keys = options.detach_keys or invocation.settings.member("detachKeys", str)
    config: ExecConfigDocument = {
        "AttachStdin": options.interactive and not options.detach,
        "AttachStdout": not options.detach,
        "AttachStderr": not options.detach,
        "Tty": options.tty,
        "Cmd": command,
        "Env": environment(options.env, options.env_file),
        "User": options.user,
        "WorkingDir": options.workdir,
        "Privileged": options.privileged,
        "DetachKeys": keys,
        "Detach": options.detach,
    }
    process = client.do(execs.create(name, config))["Id"]
    if options.detach:
        client.do(execs.start_detached(process, terminal=options.tty))
        return 0
    console_size = size() if options.tty else None
    connection, _ = client.attach(execs.start(process, terminal=options.tty, console_size=console_size))
    session = Session(
        client,
        lambda **size: execs.resize(process, **size),
        tty=options.tty,
        stdin=options.interactive,
        keys=keys,
    )
    session.run(connection, lambda: None)
    connection.close()
    if session.detached:
        raise Detached
    return _status(client, process, name)


def _status(client: Client, exec_id: str, name: str) -> int:
    """The process's status. Raises ConnectionLost when the stream ended with the engine, not with the process."""
    back = f"darse top {name}"
    try:
        process = client.do(execs.inspect(exec_id))
    except ConnectionFailed as error:
        raise ConnectionLost(f"the engine went away; the process runs on in {name}: `{back}` shows it") from error
    if process["Running"]:
        raise ConnectionLost(f"the engine went away and came back; the process runs on in {name}: `{back}` shows it")
    status = int(process["ExitCode"] or 0)
    if client.replaced:
        raise ConnectionLost(
            f"the engine went away and came back; the process has ended with status {status} meanwhile"
        )
    return status


COMMANDS = {
    "container exec": (
        Command(
            "container exec",
            "[OPTIONS] CONTAINER COMMAND [ARG...]",
            "Execute a command in a running container",
            (
                switch("detach", "Detached mode: run command in the background", "d"),
                string("detach-keys", "Override the key sequence for detaching a container"),
                listing("env", "Set environment variables", "e"),
                listing("env-file", "Read in a file of environment variables"),
                switch("interactive", "Keep STDIN open even if not attached", "i"),
                switch("privileged", "Give extended privileges to the command"),
                switch("tty", "Allocate a pseudo-TTY", "t"),
                string("user", 'Username or UID (format: "<name|uid>[:<group|gid>]")', "u"),
                string("workdir", "Working directory inside the container", "w"),
            ),
            minimum=2,
            maximum=None,
            interspersed=False,
        ),
        execute,
    )
}
