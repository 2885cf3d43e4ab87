"""Programs that keep credentials: `docker-credential-NAME get|store|erase`, JSON on their standard streams.

The protocol is that of github.com/docker/docker-credential-helpers. A program reports a failure on its standard
output, with an exit status other than 0.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from darse.cli.errors import CliError

PREFIX = "docker-credential-"
# What stands for a user's name where the secret is an identity token.
_TOKEN_USER = "<token>"  # noqa: S105 - no secret
_NOT_FOUND = "credentials not found in native keychain"


def detect(has_credentials: bool) -> str:
    """The helper to use where config.json names none: only when it has no credentials yet, and one is installed."""
    if has_credentials:
        return ""
    name = "pass" if shutil.which("pass") else "secretservice"
    return name if shutil.which(PREFIX + name) else ""


def get(helper: str, server: str) -> dict[str, str]:
    """The credentials of a registry; empty when the helper has none. Raises CliError."""
    output, failed = _run(helper, "get", server)
    if failed:
        if output == _NOT_FOUND:
            return {}
        raise CliError(f"error getting credentials - err: {failed}, out: `{output}`")
    try:
        found = json.loads(output)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(f"error getting credentials - {PREFIX}{helper} answered what is no credentials") from error
    if user == _TOKEN_USER:
        return {"identitytoken": secret, "serveraddress": server}
    return {"username": user, "password": secret, "serveraddress": server}


def store(helper: str, credentials: dict[str, Any]) -> None:
    """Keep credentials, by their `serveraddress`. Raises CliError."""
    token = credentials.get("identitytoken", "")
    document = {
        "ServerURL": credentials["serveraddress"],
        "Username": _TOKEN_USER if token else credentials.get("username", ""),
        "Secret": token or credentials.get("password", ""),
    }
    output, failed = _run(helper, "store", json.dumps(document))
    if failed:
        raise CliError(f"error storing credentials - err: {failed}, out: `{output}`")


def erase(helper: str, server: str) -> None:
    """Forget the credentials of a registry. Raises CliError."""
    output, failed = _run(helper, "erase", server)
    if failed:
        raise CliError(f"error erasing credentials - err: {failed}, out: `{output}`")


def _run(helper: str, verb: str, data: str) -> tuple[str, str]:
    """What the program printed, and how it failed, in Go's words; empty when it did not."""
    program = PREFIX + helper
    if "/" in helper:
        raise CliError(f"the name of a credential helper has no slash: {helper}")
    try:
        done = subprocess.run([program, verb], input=data.encode(), stdout=subprocess.PIPE, check=False)
    except FileNotFoundError:
        return "", f'exec: "{program}": executable file not found in $PATH'
    except OSError as error:
        return "", f"fork/exec {program}: {(error.strerror or str(error)).lower()}"
    return done.stdout.decode(errors="replace").strip(), f"exit status {done.returncode}" if done.returncode else ""
