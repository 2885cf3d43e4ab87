"""Who the user is at which registry: `login` stores it, pull, push and search send it (`X-Registry-Auth`).

Kept where docker's client keeps it, so that a login with either is one with both: by a credential helper where
config.json names one (`credHelpers` by registry, `credsStore` for all) or a known one is installed, else in config.json
itself, base64 and readable by its owner only. `DOCKER_AUTH_CONFIG`, a config.json as text, goes before both.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import Any

from darse.cli.errors import CliError
from darse.cli.settings import config_file, credential_helpers
from darse.cli.settings.config import Settings
from darse.image_spec.references import DEFAULT_DOMAIN

# The key of Docker Hub's credentials, since its first index.
HUB_KEY = "https://index.docker.io/v1/"
_VARIABLE = "DOCKER_AUTH_CONFIG"
_MEMBERS = ("username", "password", "auth", "serveraddress", "identitytoken", "registrytoken")
_WARNING = """
WARNING! Your credentials are stored unencrypted in '{}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""


def key_of(domain: str) -> str:
    """Under what the credentials of a registry are kept."""
    return HUB_KEY if domain in (DEFAULT_DOMAIN, "index.docker.io") else domain


def host_of(server: str) -> str:
    """The host, with its port, of a registry that may be written as a URL."""
    return server.partition("://")[2].partition("/")[0] if "://" in server else server.partition("/")[0]


def registry_auth(settings: Settings, domain: str) -> str:
    """The user's credentials for a registry, as requests of the API have them."""
    return encode(usable(settings, key_of(domain)))


def usable(settings: Settings, server: str) -> dict[str, Any]:
    """The credentials for a registry, as `get`; what keeps them from being read is a warning.

    Most registries serve most images to everybody, and configurations name helpers that are long gone. Where
    credentials are required the registry's refusal is the error.
    """
    try:
        return get(settings, server)
    except CliError as error:
        sys.stderr.write(f"WARNING: {error}; going on without credentials for {server}\n")
        return {}


def encode(credentials: dict[str, Any]) -> str:
    """Credentials as the API's header has them: JSON, base64 of RFC 4648 section 5."""
    return base64.urlsafe_b64encode(json.dumps(credentials, separators=(",", ":")).encode()).decode()


def get(settings: Settings, server: str) -> dict[str, Any]:
    """The credentials for a registry: an AuthConfig of the API; empty when there are none. Raises CliError."""
    given = _of_variable().get(server)
    if given is not None:
        return given
    helper = _helper(settings.file, server)
    in_file = _in_file(settings, server)
    return {**in_file, **credential_helpers.get(helper, server)} if helper else in_file


def all_of(settings: Settings) -> dict[str, dict[str, Any]]:
    """The usable credentials for every registry that config.json or the environment names. Raises CliError."""
    servers = [*_object(settings.file, "auths"), *_object(settings.file, "credHelpers"), *_of_variable()]
    found = {server: usable(settings, server) for server in dict.fromkeys(servers)}
    return {server: credentials for server, credentials in found.items() if credentials}


def store(settings: Settings, credentials: dict[str, Any]) -> None:
    """Keep the credentials for their `serveraddress`. Raises CliError."""
    server = credentials["serveraddress"]
    helper = _helper(settings.file, server)
    kept_entry = {} if helper else entry(credentials)

    def edit(document: dict[str, Any]) -> None:
        kept = _object(document, "auths").get(server)
        other = {name: value for name, value in kept.items() if name not in _MEMBERS} if isinstance(kept, dict) else {}
        document["auths"] = {**_object(document, "auths"), server: {**other, **kept_entry}}

    if helper:
        credential_helpers.store(helper, credentials)
    else:
        path = os.path.join(settings.directory, "config.json")
        if credentials.get("password") and kept_entry != _object(settings.file, "auths").get(server):
            sys.stderr.write(_WARNING.format(path) + "\n")
    settings.replace_file(config_file.change(settings.directory, edit))


def erase(settings: Settings, server: str) -> None:
    """Forget the credentials for a registry. Raises CliError."""
    helper = _helper(settings.file, server)
    if helper:
        credential_helpers.erase(helper, server)
    if server in _object(settings.file, "auths"):
        settings.replace_file(
            config_file.change(settings.directory, lambda document: _object(document, "auths").pop(server, None))
        )


def warn_of_variable() -> None:
    """Say that what login and logout change will not be used while the variable is set."""
    if os.environ.get(_VARIABLE):
        sys.stderr.write(
            f"WARNING: {_VARIABLE} is set and takes precedence.\nUnset {_VARIABLE} to restore the CLI auth behaviour.\n"
        )


def _helper(document: dict[str, Any], server: str) -> str:
    helpers = _object(document, "credHelpers")
    named = helpers.get(server) or document.get("credsStore")
    if named:
        return str(named)
    has_credentials = bool(helpers or _object(document, "auths"))
    return credential_helpers.detect(has_credentials)


def _object(document: dict[str, Any], member: str) -> dict[str, Any]:
    value = document.get(member)
    return value if isinstance(value, dict) else {}


def _in_file(settings: Settings, server: str) -> dict[str, Any]:
    path = os.path.join(settings.directory, "config.json")
    auths = _object(settings.file, "auths")
    if server in auths:
        return _decoded(server, auths[server], path)
    # Old files have URLs for keys.
    for key, entry in auths.items():
        if host_of(key) == server:
            return _decoded(key, entry, path)
    return {}


def _of_variable() -> dict[str, dict[str, Any]]:
    text = os.environ.get(_VARIABLE)
    if not text:
        return {}
    try:
        document = json.loads(text)
        auths = _object(document, "auths") if isinstance(document, dict) else {}
        return {server: _decoded(server, entry, _VARIABLE) for server, entry in auths.items()}
    except (ValueError, CliError) as error:
        sys.stderr.write(f"Failed to create credential store from {_VARIABLE}: {error}\n")
        return {}


def _decoded(server: str, entry: Any, origin: str) -> dict[str, Any]:
    """An entry of `auths` as an AuthConfig. Raises CliError."""
    if not isinstance(entry, dict):
        raise CliError(f"{origin}: the credentials of {server} are no JSON object")
    found = {name: entry[name] for name in _MEMBERS if name != "auth" and entry.get(name)}
    if entry.get("auth"):
        try:
            user, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except ValueError as error:
            raise CliError(f"{origin}: the credentials of {server} are no base64: log in again") from error
        if not colon or not user:
            raise CliError(f"{origin}: Invalid auth configuration file: log in to {server} again")
        found |= {"username": user, "password": password.strip("\0")}
    return {**found, "serveraddress": server} if found else {}


def entry(credentials: dict[str, Any]) -> dict[str, Any]:
    """An AuthConfig as config.json has it."""
    user, password = credentials.get("username", ""), credentials.get("password", "")
    found = {name: credentials[name] for name in ("identitytoken", "registrytoken") if credentials.get(name)}
    if user or password:
        found["auth"] = base64.b64encode(f"{user}:{password}".encode()).decode()
    return found
