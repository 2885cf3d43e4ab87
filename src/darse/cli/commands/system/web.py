"""`web`: the dashboard, and the users of its file."""

from __future__ import annotations

import os
import signal
import sys

from darse.cli.command_line.flags import Command, listing, number, string
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from darse.web.options import WebOptions

_PACKAGES = "the dashboard needs two more Python packages, jinja2 and argon2-cffi: pip install 'darse[web]'"


def web(invocation: Invocation) -> int:
    """Serve the dashboard until a signal ends it, or change the file of its users. Raises CliError."""
    from importlib.util import find_spec

    options = invocation.options
    # Not imported: argon2 takes a megabyte, and only passwords need it.
    if find_spec("argon2") is None or find_spec("jinja2") is None:
        raise CliError(_PACKAGES)
    if options.set_user or options.remove_user:
        return _change_users(options.users, options.set_user, options.remove_user)
    import asyncio

    return asyncio.run(_serve(_options(invocation)))


def _options(invocation: Invocation) -> WebOptions:
    from pathlib import Path

    from darse.web.options import WebOptions

    options = invocation.options
    if bool(options.tlscert) != bool(options.tlskey):
        raise CliError("--tlscert and --tlskey go together")
    address, port = options.address, options.port
    if address not in ("127.0.0.1", "::1") and not options.tlscert:
        raise CliError(
            f"--address {address} can be reached from other machines, where a login must not be read on its way: "
            "give --tlscert and --tlskey"
        )
    return WebOptions(
        endpoint=invocation.settings.endpoint(),
        audit_log=Path(options.audit_log) if options.audit_log else _state_directory() / "web-audit.log",
        address=address,
        port=port,
        names=tuple(options.server_name),
        certificate=Path(options.tlscert) if options.tlscert else None,
        key=Path(options.tlskey) if options.tlskey else None,
        users=Path(options.users) if options.users else None,
    )


def _state_directory() -> Path:
    from pathlib import Path

    if os.geteuid() == 0:
        return Path("/var/log/darse")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "darse"


async def _serve(options: WebOptions) -> int:
    import asyncio
    import ssl

    from darse.client.requests import system
    from darse.web.accounts import AccountError, read_accounts
    from darse.web.server import WebServer

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, ended.set)
    try:
        if options.users is not None:
            read_accounts(options.users)
        async with WebServer(options) as server:
            await server.dashboard.client.do(system.version())
            token = server.dashboard.sessions.new_token()
            # Before it is printed: whoever reads it may send the signal at once.
            loop.add_signal_handler(signal.SIGHUP, _print_token, server)
            sys.stdout.write(
                f"The dashboard is at {server.url}\n"
                f"Log in, once and within 15 minutes, with {server.url}/login#{token}\n"
                "SIGHUP prints another token; SIGINT or SIGTERM ends it.\n"
            )
            sys.stdout.flush()
            await ended.wait()
    except (AccountError, ssl.SSLError, OSError, ValueError) as error:
        raise CliError(f"the dashboard cannot start: {error}") from error
    return 0


def _print_token(server: object) -> None:
    from darse.web.server import WebServer

    assert isinstance(server, WebServer)
    sys.stdout.write(f"{server.url}/login#{server.dashboard.sessions.new_token()}\n")
    sys.stdout.flush()


def _change_users(users: str, added: str, removed: str) -> int:
    """Change the file of users; the password is asked for, or is the first line of what is not a terminal."""
    from pathlib import Path

    from darse.web.accounts import AccountError, remove_account, set_account

    if not users:
        raise CliError("which file? --users FILE")
    try:
        if removed:
            remove_account(Path(users), removed)
            return 0
        name, _, role = added.partition(":")
        set_account(Path(users), name, role or "look", _password(name))
    except (AccountError, OSError) as error:
        raise CliError(str(error)) from error
    return 0


def _password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    from getpass import getpass

    password = getpass(f"Password of {name}: ")
    if getpass("Again: ") != password:
        raise CliError("these are two different passwords")
    return password


COMMANDS = {
    "web": (
        Command(
            "web",
            "[OPTIONS]",
            "Show the engine in a browser",
            (
                string(
                    "address",
                    "Address to listen on; other than this machine's own with TLS only",
                    "",
                    "ip",
                    "127.0.0.1",
                ),
                number("port", "Port to listen on; 0 takes one that is free", default=9480),
                listing("server-name", "Host name by which browsers come, besides the address"),
                string("tlscert", "Certificate of the dashboard, PEM", value="file"),
                string("tlskey", "Key of the certificate, PEM", value="file"),
                string("users", "File of users, with roles and hashed passwords", value="file"),
                string("set-user", "Add a user to the file, or change one, and quit", value="name:role"),
                string("remove-user", "Take a user out of the file, and quit", value="name"),
                string("audit-log", "File for records of what was changed", value="file"),
            ),
            examples=(
                "darse web\n# a user who may start and stop containers; the roles are look, operate and administrate\n"
                "darse web --users /etc/darse/web-users --set-user alice:operate\n"
                "darse web --users /etc/darse/web-users --address 0.0.0.0 --server-name dock.example.org "
                "--tlscert cert.pem --tlskey key.pem"
            ),
        ),
        web,
    )
}
