"""`login` and `logout`: credentials for a registry, proved by the engine or, without one, by the registry itself."""

from __future__ import annotations

import sys
from typing import Any

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import ApiError, CliError, ConnectionFailed
from darse.cli.settings import credentials
from darse.cli.terminal.modes import is_terminal, no_echo
from darse.client.requests import images
from darse.image_spec.references import DEFAULT_DOMAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.system import AuthConfigDocument, AuthResponseDocument

_HUB_HINT = (
    "Docker Hub takes a Docker ID or e-mail address, and a password or, better, a personal access token\n"
    "(https://hub.docker.com/settings/security).\n"
)


def login(invocation: Invocation) -> int:
    """Prove to a registry who the user is, through the engine, and keep what proved it."""
    options = invocation.options
    password = _given_password(options)
    credentials.warn_of_variable()
    given = invocation.arguments[0] if invocation.arguments else DEFAULT_DOMAIN
    server = credentials.HUB_KEY if given in (DEFAULT_DOMAIN, credentials.HUB_KEY) else credentials.host_of(given)
    stored = {} if options.username or password else _stored(invocation, server)
    if stored.get("username") and stored.get("password"):
        status = _with_stored(invocation, {**stored, "serveraddress": server})
        if status is not None:
            sys.stdout.write(f"{status}\n")
            return 0
    if not (options.username and password) and not is_terminal(0):
        raise CliError("Error: Cannot perform an interactive login from a non TTY device")
    user = options.username.strip() or _ask_user(stored.get("username", ""), server)
    password = password if password.strip() else _ask_password()
    status = _prove(invocation, {"username": user, "password": password, "serveraddress": server})
    if status:
        sys.stdout.write(f"{status}\n")
    return 0


def _given_password(options: Any) -> str:
    """The password of the flags or of standard input. Raises CliError."""
    given = options.given
    if "password" in given and options.password_stdin:
        raise CliError("conflicting options: cannot specify both --password and --password-stdin")
    if options.password_stdin:
        if not options.username:
            raise CliError("the --password-stdin option requires --username to be set")
        return sys.stdin.read().removesuffix("\n").removesuffix("\r")
    for name in ("username", "password"):
        if name in given and not getattr(options, name):
            raise CliError(f"{name} is empty")
    if options.password:
        sys.stderr.write("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    return str(options.password)


def _stored(invocation: Invocation, server: str) -> AuthConfigDocument:
    """What is stored; the failure of a helper is printed, and the user is asked instead."""
    try:
        return credentials.get(invocation.settings, server)  # type: ignore[return-value]
    except CliError as error:
        sys.stderr.write(f"WARNING: {error}\n")
        return {}


def _with_stored(invocation: Invocation, stored: AuthConfigDocument) -> str | None:
    """Log in with what is stored; None when that is refused, which has been said then."""
    sys.stderr.write(
        f"Authenticating with existing credentials... [Username: {stored['username']}]\n\n"
        " Info -> To login with a different account, run 'darse logout' followed by 'darse login'\n\n\n"
    )
    sys.stderr.flush()
    try:
        return _prove(invocation, stored)
    except ApiError as error:
        if error.http_status == 401:
            sys.stderr.write("Stored credentials invalid or expired\n")
        else:
            sys.stderr.write(f"Login did not succeed, error: {error}\n")
        return None


def _prove(invocation: Invocation, auth_config: AuthConfigDocument) -> str:
    """Let the engine ask the registry, and store what it gave; without an engine ask it directly. Raises CliError."""
    try:
        answer = invocation.client.do(images.log_in(auth_config)) or {}
    except ConnectionFailed:
        answer = _prove_directly(auth_config)
    kept = dict(auth_config)
    if answer.get("IdentityToken"):
        kept |= {"password": "", "identitytoken": answer["IdentityToken"]}
    try:
        credentials.store(invocation.settings, kept)
    except CliError as error:
        raise CliError(f"Error saving credentials: {error}") from error
    return str(answer.get("Status", ""))


def _prove_directly(auth_config: AuthConfigDocument) -> AuthResponseDocument:
    import os

    from darse.distribution import Credentials, Limits, RegistryClient, RegistryError
    from darse.distribution.hosts import proxies_of

    client = RegistryClient(
        proxies_of(os.environ), Credentials(auth_config["username"], auth_config["password"]), limits=Limits(attempts=1)
    )
    try:
        token = client.login(auth_config["serveraddress"])
    except RegistryError as error:
        raise CliError(str(error)) from error
    return {"Status": "Login Succeeded", "IdentityToken": token}


def _ask_user(known: str, server: str) -> str:
    if server == credentials.HUB_KEY:
        sys.stdout.write(_HUB_HINT)
    sys.stdout.write(f"Username ({known}): " if known else "Username: ")
    sys.stdout.flush()
    user = sys.stdin.readline().strip() or known
    if not user:
        raise CliError("error: username is required")
    return user


def _ask_password() -> str:
    sys.stdout.write("Password: ")
    sys.stdout.flush()
    try:
        with no_echo(0):
            password = sys.stdin.readline().rstrip("\r\n")
    finally:
        sys.stdout.write("\n")
    if not password:
        raise CliError("error: password is required")
    return password


def logout(invocation: Invocation) -> int:
    """Forget the credentials for a registry."""
    credentials.warn_of_variable()
    server = invocation.arguments[0] if invocation.arguments else credentials.HUB_KEY
    servers = [server]
    if invocation.arguments:
        host = credentials.host_of(server)
        servers += [host, f"http://{host}", f"https://{host}"]
        server = host
    sys.stdout.write(f"Removing login credentials for {server}\n")
    errors = []
    for one in servers:
        try:
            credentials.erase(invocation.settings, one)
        except CliError as error:
            errors.append(f"{one}: {error}")
    if len(errors) == len(servers):
        sys.stdout.flush()
        sys.stderr.write("\n".join(["WARNING: could not erase credentials:", *dict.fromkeys(errors)]) + "\n")
    return 0


COMMANDS = {
    "login": (
        Command(
            "login",
            "[OPTIONS] [SERVER]",
            "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
            (
                string("password", "Password or Personal Access Token (PAT)", "p"),
                switch("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
                string("username", "Username", "u"),
            ),
            0,
            1,
            examples="darse login registry.example.com\n"
            "pass show registry | darse login -u me --password-stdin registry.example.com",
        ),
        login,
    ),
    "logout": (
        Command(
            "logout",
            "[SERVER]",
            "Log out from a registry.\nIf no server is specified, Docker Hub is meant.",
            (),
            0,
            1,
        ),
        logout,
    ),
}
