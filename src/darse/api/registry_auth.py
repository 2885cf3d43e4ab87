"""Credentials for registries in requests: X-Registry-Auth, base64url of a JSON object; `{}` is nobody's."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from darse.api import aiohttp_server as web
from darse.engine.errors import InvalidParameter
from darse.wire.registries import AuthConfig

if TYPE_CHECKING:
    from darse.distribution import Credentials

HEADER = "X-Registry-Auth"


def read_credentials(request: web.BaseRequest) -> Credentials | None:
    """The credentials that a request brings. Raises InvalidParameter for what cannot be read."""
    text = request.headers.get(HEADER, "").strip()
    if not text:
        return None
    try:
        raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
        document = msgspec.json.decode(raw) if raw.strip() else None
        if document is None or document == {}:
            return None
        if isinstance(document, dict):
            document = {key.lower(): value for key, value in document.items() if value is not None}
        given = msgspec.convert(document, AuthConfig)
    except (binascii.Error, msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InvalidParameter(f"invalid {HEADER} header: {error}") from None
    return credentials_of(given)


def credentials_of(given: AuthConfig) -> Credentials:
    """The credentials in an API object; `auth` is user and password in base64. Raises InvalidParameter."""
    from darse.distribution import Credentials  # noqa: PLC0415 - the client of registries, when one is asked

    username, password = given.username, given.password
    if given.auth and not username:
        try:
            username, _, password = base64.b64decode(given.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidParameter("invalid auth: base64 of USER:PASSWORD is wanted") from None
    return Credentials(username, password, given.identitytoken, given.registrytoken)
