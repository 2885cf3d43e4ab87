"""Credentials, and what registries want of them: basic authentication and bearer tokens.

Follows distribution's token authentication specification (docs/spec/auth). A challenge names where tokens come from;
credentials go there, and to the registry, and to no other host. Tokens are kept for as long as they are good.
"""

from __future__ import annotations

import base64
import re
import time
from typing import Any
from urllib.parse import urlencode

import msgspec

from darse.distribution.error_response import error_of, folded
from darse.distribution.errors import AuthenticationRequired, InvalidContent, NotInRegistry, RequestRefused
from darse.distribution.transport import RegistryResponse, Transport, split_url

CLIENT_ID = "darse"
_TOKEN_LIMIT = 1024 * 1024
# Tokens that say nothing are good for a minute (specification), less some for the way.
_LIFETIME = 60
_MARGIN = 5
_SCHEME = re.compile(r"\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*")
_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|\Z)')


class Credentials(msgspec.Struct, frozen=True):
    """What a user shows to a registry; all empty is nobody."""

    username: str = ""
    password: str = ""
    # A refresh token from an earlier login, which stands for user and password.
    identity_token: str = ""
    # A bearer token as it is.
    registry_token: str = ""

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """The header of basic authentication."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


class Challenge(msgspec.Struct, frozen=True):
    """One entry of a WWW-Authenticate header."""

    scheme: str
    parameters: dict[str, str]


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    refresh_token: str = ""
    expires_in: float = 0


def challenges(headers: list[str]) -> list[Challenge]:
    """Read WWW-Authenticate headers; what cannot be read is left out."""
    found = []
    for header in headers:
        position = 0
        while (scheme := _SCHEME.match(header, position)) is not None:
            position = scheme.end()
            parameters = {}
            while (parameter := _PARAMETER.match(header, position)) is not None:
                parameters[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", parameter[2] or "") or parameter[3] or ""
                position = parameter.end()
            found.append(Challenge(scheme[1].lower(), parameters))
            if header[position : position + 1] == ",":
                position += 1
    return found


class Authenticator:
    """Answers the challenges of one registry for one user."""

    def __init__(self, transport: Transport, credentials: Credentials, *, clear_text: bool) -> None:
        """`clear_text` says that credentials may go over plain HTTP: the registry itself is asked so."""
        self._transport = transport
        self._credentials = credentials
        self._clear_text = clear_text
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}
        self._challenge: Challenge | None = None
        self.refresh_token = ""

    def apart(self, transport: Transport) -> Authenticator:
        """One for another thread, which knows what this one has learnt."""
        other = Authenticator(transport, self._credentials, clear_text=self._clear_text)
        other._basic, other._challenge = self._basic, self._challenge
        other._tokens = dict(self._tokens)
        return other

    def header(self, scopes: tuple[str, ...]) -> dict[str, str]:
        """The Authorization header for a request, as far as is known what the registry wants. Raises RegistryError."""
        if self._credentials.registry_token:
            return {"Authorization": f"Bearer {self._credentials.registry_token}"}
        if self._basic:
            return {"Authorization": self._credentials.basic}
        if self._challenge is not None:
            return {"Authorization": f"Bearer {self._token(self._challenge, scopes)}"}
        return {}

    def answer(self, response: RegistryResponse, scopes: tuple[str, ...]) -> bool:
        """Take a 401's challenge; return whether there is something new to show. Raises RegistryError."""
        if self._credentials.registry_token:
            return False
        offered = challenges(response.headers.get_all("WWW-Authenticate", []))
        for challenge in offered:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                known = self._challenge
                # A registry may name scopes of its own, as for a mount.
                self._tokens.pop(_key(challenge, scopes), None)
                self._challenge = challenge
                return known is None or known != challenge
        for challenge in offered:
            if challenge.scheme == "basic":
                if not (self._credentials.username or self._credentials.password):
                    raise AuthenticationRequired("no basic auth credentials")
                known_basic, self._basic = self._basic, True
                return not known_basic
        return False

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        key = _key(challenge, scopes)
        token, until = self._tokens.get(key, ("", 0.0))
        if until < time.monotonic():
            token, lifetime = self._fetch(challenge, scopes)
            self._tokens[key] = (token, time.monotonic() + max(lifetime - _MARGIN, _MARGIN))
        return token

    def _fetch(self, challenge: Challenge, scopes: tuple[str, ...]) -> tuple[str, float]:
        realm, service = challenge.parameters["realm"], challenge.parameters.get("service", "")
        requested = scopes or tuple(challenge.parameters.get("scope", "").split())
        parts = split_url(realm)
        credentials = self._credentials
        if credentials and parts.scheme == "http" and not self._clear_text:
            raise InvalidContent(f"the registry wants credentials sent in clear to {realm}: refused")
        if credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "service": service,
                "client_id": CLIENT_ID,
                "scope": " ".join(requested),
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._transport.send("POST", realm, headers, urlencode(form).encode())
        else:
            query: list[tuple[str, str]] = [("service", service)] if service else []
            query += [("scope", scope) for scope in requested]
            headers = {}
            if credentials:
                query += [("account", credentials.username), ("client_id", CLIENT_ID), ("offline_token", "true")]
                headers["Authorization"] = credentials.basic
            url = f"{realm}{'&' if parts.query else '?'}{urlencode(query)}" if query else realm
            response = self._transport.send("GET", url, headers)
        with response:
            if response.status != 200:
                error = error_of(response, f'Get "{realm}"')
                # That there is no such thing is said of images only.
                raise RequestRefused(str(error)) if isinstance(error, NotInRegistry) else error
            content = response.read(_TOKEN_LIMIT)
        return self._read(content, realm)

    def _read(self, content: bytes, realm: str) -> tuple[str, float]:
        try:
            raw: Any = msgspec.json.decode(content)
            if isinstance(raw, dict):
                raw = {key: value for key, value in folded(raw).items() if value is not None}
            answer = msgspec.convert(raw, _Token)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise InvalidContent(f"{realm} answers with no token: {error}") from None
        token = answer.token or answer.access_token
        if not token or not token.isascii() or any(character <= " " for character in token):
            raise InvalidContent(f"{realm} answers with no token: authorization server did not include a token")
        self.refresh_token = answer.refresh_token or self.refresh_token
        return token, answer.expires_in or _LIFETIME


def _key(challenge: Challenge, scopes: tuple[str, ...]) -> str:
    parameters = challenge.parameters
    requested = scopes or (parameters.get("scope", ""),)
    return " ".join((parameters["realm"], parameters.get("service", ""), *requested))
