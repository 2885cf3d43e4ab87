"""Credentials for registries in requests: X-Registry-Auth, base64url of a JSON object; `{}` is nobody's."""

from __future__ import annotations

import base64
import binascii
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from darse import aiohttp_server as web
from darse.core.errors import InvalidParameter
from darse.wire.registries import AuthConfig

if TYPE_CHECKING:
    from darse.distribution import Credentials

HEADER = "X-Registry-Auth"
# Credentials for several registries, by the names under which clients keep them.
OTHERS = "X-Registry-Config"
_log = logging.getLogger(__name__)


def read_credentials(request: web.BaseRequest) -> Credentials | None:
    """The credentials that a request brings; what cannot be read is none, as for docker, whose old clients send it."""
    try:
        document = _read(request, HEADER)
        return credentials_of(_convert(document, HEADER)) if document else None
    except InvalidParameter as error:
        _log.debug("goes on without credentials: %s", error)
        return None


def read_others(request: web.BaseRequest) -> dict[str, Credentials]:
    """Credentials for further registries, mirrors perhaps, by `HOST[:PORT]`; without those that cannot be read."""
    found = {}
    try:
        for server, given in (_read(request, OTHERS) or {}).items():
            authority = server.partition("://")[2] if "://" in server else server
            found[authority.partition("/")[0]] = credentials_of(_convert(given, OTHERS))
    except InvalidParameter as error:
        _log.debug("goes on without further credentials: %s", error)
    return found


def _read(request: web.BaseRequest, header: str) -> dict[str, Any] | None:
    text = request.headers.get(header, "").strip()
    if not text:
        return None
    try:
        raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
        return msgspec.json.decode(raw, type=dict[str, Any] | None) if raw.strip() else None
    except (binascii.Error, msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InvalidParameter(f"invalid {header} header: {error}") from None


def _convert(document: Any, header: str) -> AuthConfig:
    try:
        if isinstance(document, dict):
            document = {key.lower(): value for key, value in document.items() if value is not None}
        return msgspec.convert(document, AuthConfig)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"invalid {header} header: {error}") from None


def credentials_of(given: AuthConfig) -> Credentials:
    """The credentials in an API object; `auth` is user and password in base64. Raises InvalidParameter."""
    from darse.distribution import Credentials  # noqa: PLC0415 - the client of registries, when one is asked

    username, password = given.username, given.password
    if given.auth and not username:
        try:
            username, _, password = base64.b64decode(given.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidParameter("invalid auth: must be base64 of USER:PASSWORD") from None
    return Credentials(username, password, given.identitytoken, given.registrytoken)
