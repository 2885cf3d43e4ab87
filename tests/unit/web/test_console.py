"""The console's websocket: who may open one, and what it takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from darse.web.accounts import Role
from darse.web.server import WebServer
from tests.support.fake_engine import FakeEngine
from tests.support.web import WebBrowser

ID = "0123456789ab" * 5 + "abcd"
PATH = f"/containers/{ID}/console/stream"
HANDSHAKE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


@pytest.mark.parametrize(
    "origin",
    ["", "null", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1", "http://localhost:{port}"],
)
def test_a_websocket_of_another_site_is_refused(admin: WebBrowser, fake: FakeEngine, origin: str) -> None:
    answer = admin.request("GET", PATH, {**HANDSHAKE, "Origin": origin.format(port=admin.port)})
    assert answer.status == 403
    assert [one for one in fake.requests() if one.path != "/darse/usage"] == []


def test_a_websocket_needs_a_session(browser: WebBrowser) -> None:
    assert browser.request("GET", PATH, {**HANDSHAKE, "Origin": browser.origin}).status in (303, 401)


@pytest.mark.parametrize("role", [Role.LOOK, Role.OPERATE])
def test_a_console_is_for_administrators(as_role: Callable[[Role], WebBrowser], role: Role) -> None:
    browser = as_role(role)
    assert browser.request("GET", PATH, {**HANDSHAKE, "Origin": browser.origin}).status == 403


def test_another_page_is_no_websocket(admin: WebBrowser) -> None:
    assert admin.request("GET", "/containers", {**HANDSHAKE, "Origin": admin.origin}).status == 404
    assert admin.get(PATH).status == 404


async def opened(browser: WebBrowser, first: str) -> tuple[int | None, list[str]]:
    """Open a console with this first message; the code of its end, and the texts that came."""
    headers = {"Origin": browser.origin, "Cookie": browser.cookie_header}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{browser.origin.replace('http', 'ws')}{PATH}", headers=headers) as socket,
    ):
        await socket.send_str(first)
        texts = [message.data async for message in socket if message.type is aiohttp.WSMsgType.TEXT]
        return socket.close_code, texts


def opening(**members: Any) -> str:
    return json.dumps({"csrf": "", "command": "sh", "size": {"columns": 80, "rows": 24}, **members})


async def test_a_console_needs_the_token_of_its_session(admin: WebBrowser, fake: FakeEngine) -> None:
    code, _ = await opened(admin, opening(csrf="x"))
    assert code == 4403
    assert [one for one in fake.requests() if one.method == "POST"] == []


@pytest.mark.parametrize(
    "first",
    ["", "{", "[]", '{"csrf":1}', opening(size={"columns": 0, "rows": 1}), opening(size={"columns": 1, "rows": 10**9})],
)
async def test_a_first_message_that_is_not_right_ends_it(admin: WebBrowser, first: str) -> None:
    code, _ = await opened(admin, first)
    assert code == 4400


async def test_what_the_engine_refuses_is_said(admin: WebBrowser, served: WebServer) -> None:
    code, texts = await opened(admin, opening(csrf=admin.csrf))
    assert code == 1000
    assert "No such object" in json.loads(texts[-1])["end"]


async def test_a_logout_ends_a_console(admin: WebBrowser, served: WebServer) -> None:
    headers = {"Origin": admin.origin, "Cookie": admin.cookie_header}
    url = f"{admin.origin.replace('http', 'ws')}{PATH}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as socket:
        assert (await asyncio.to_thread(admin.post, "/logout")).status == 303
        message = await socket.receive(timeout=5)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
