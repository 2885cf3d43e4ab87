"""Authorization plugins (`AuthZPlugin`, docker's docs/extend/plugins_authorization): who may do what with the engine.

Each plugin of `authorization-plugins` sees every request before anything is done for it, and every answer before it is
sent, and may refuse both; those of requests are asked in order, those of answers in the reverse one. A plugin that is
not there, hangs or lies refuses. What is refused at the request has changed nothing.

A request's body is shown when it is JSON: all of what the engine itself reads, so nothing gets past a plugin by its
size (CVE-2024-41110, CVE-2026-34040); the one of `/auth` has a password, and is not. An answer's body is shown when it
is a document. Of streams the head is: they are asked for before it is sent.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from darse import aiohttp_server as web
from darse.api.body import read_body
from darse.api.server import connection_of
from darse.core.errors import Forbidden, NotFound
from darse.plugins import PluginClient, PluginError

#: What such a plugin implements.
KIND = "authz"
_ANSWER_LIMIT = 1 << 20
_WITH_PASSWORD = re.compile(r"(/v[0-9.]+)?/auth")


class _Verdict(msgspec.Struct):
    Allow: bool = False
    Msg: str = ""


class Authorizer:
    """Asks the plugins about requests and their answers."""

    def __init__(self, plugins: PluginClient, names: Callable[[], Sequence[str]]) -> None:
        """`names` are the plugins', in the order in which they are asked; a reload changes them."""
        self._plugins = plugins
        self._given = names

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._given()))

    async def check_request(self, request: web.BaseRequest) -> None:
        """Ask about a request. Raises Forbidden, PluginError, InvalidParameter and TooLarge for its body."""
        if not self._names:
            return
        asked: dict[str, Any] = {
            "RequestMethod": request.method,
            "RequestUri": request.raw_path,
            "RequestHeaders": _headers(request.headers),
            **_peer(request),
        }
        if _is_json(request.headers.get("Content-Type", "")) and _WITH_PASSWORD.fullmatch(request.path) is None:
            # That of a route for archives is kept aside for whom it is for.
            connection_of(request).keep()
            asked["RequestBody"] = _encoded(await read_body(request))
        for name in self._names:
            await self._ask(name, "AuthZPlugin.AuthZReq", asked)
        request[_KEY] = (self, asked)

    async def check_answer(
        self, asked: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Ask about the answer to a request. Raises Forbidden and PluginError."""
        answer = {
            **asked,
            "ResponseStatusCode": status,
            "ResponseHeaders": _headers(headers),
            "ResponseBody": _encoded(body if len(body) <= _ANSWER_LIMIT else b""),
        }
        for name in reversed(self._names):
            await self._ask(name, "AuthZPlugin.AuthZRes", answer)

    async def _ask(self, name: str, method: str, asked: dict[str, Any]) -> None:
        try:
            verdict = await self._plugins.call(name, KIND, method, asked, _Verdict)
        except (NotFound, PluginError) as error:
            raise PluginError(f"plugin {name} failed with error: {error}") from error
        if not verdict.Allow:
            raise Forbidden(f"authorization denied by plugin {name}: {verdict.Msg}")


# Where a request that was let through has who is asked about its answer, and what was asked about itself.
_KEY = web.RequestKey("authorization", tuple[Authorizer, dict[str, Any]])


async def check_answer(request: web.BaseRequest, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
    """Ask the plugins about the answer to a request that they have let through, once, before any of it is sent.

    Raises Forbidden and PluginError.
    """
    if _KEY in request:
        authorizer, asked = request[_KEY]
        del request[_KEY]
        await authorizer.check_answer(asked, status, headers, body)


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    """All but credentials of registries."""
    return {key: value for key, value in headers.items() if key.lower() not in ("x-registry-auth", "x-registry-config")}


def _encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


def _peer(request: web.BaseRequest) -> dict[str, Any]:
    """The user of a request: the common name of a client's certificate, where the engine has verified one."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    certificate = tls.getpeercert() if tls is not None else None
    if tls is None or not certificate:
        return {"User": "", "UserAuthNMethod": ""}
    names = [value for pairs in certificate.get("subject", ()) for key, value in pairs if key == "commonName"]
    text = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
    return {
        "User": names[0] if names else "",
        "UserAuthNMethod": "TLS",
        "RequestPeerCertificates": [_encoded(text.encode())],
    }
