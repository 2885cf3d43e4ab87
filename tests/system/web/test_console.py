"""The console, with a real engine."""

from __future__ import annotations

import asyncio
import json

import aiohttp
from tests.support.engine import BUSYBOX, Engine
from tests.support.web import WebBrowser


class Console:
    """An open console, and all that it has shown."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.shown = ""

    async def until(self, text: str) -> None:
        """Wait until it has shown a text, or ended."""
        async with asyncio.timeout(20):
            while text not in self.shown:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.BINARY:
                    self.shown += message.data.decode()
                elif message.type is aiohttp.WSMsgType.TEXT:
                    self.shown += message.data
                else:
                    raise AssertionError(f"it ended after {self.shown!r}")


async def converse(browser: WebBrowser, identifier: str, command: str) -> None:
    """Type into a shell."""
    headers = {"Origin": browser.origin, "Cookie": browser.cookie_header}
    url = f"ws://{browser.host}/containers/{identifier}/console/stream"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as socket:
        console = Console(socket)
        size = {"columns": 90, "rows": 33}
        await socket.send_str(json.dumps({"csrf": browser.csrf, "command": command, "size": size}))
        await socket.send_bytes(b"echo $((6*7))-\n")
        await console.until("42-")
        await socket.send_bytes(b"stty size\n")
        await console.until("33 90")
        await socket.send_str(json.dumps({"columns": 100, "rows": 40}))
        await socket.send_bytes(b"sleep 0.3; stty size\n")
        await console.until("40 100")
        await socket.send_bytes(b"exit\n")
        await console.until('"end"')


async def test_a_shell_is_opened_in_a_container(engine: Engine, browser: WebBrowser) -> None:
    identifier = engine.darse("run", "-d", BUSYBOX, "sleep", "1000").ok().line
    assert browser.get(f"/containers/{identifier}/console").status == 200
    await converse(browser, identifier, "sh")


async def test_the_main_process_is_attached_to(engine: Engine, browser: WebBrowser) -> None:
    identifier = engine.darse("run", "-dit", BUSYBOX, "sh").ok().line
    assert "Attach" in browser.get(f"/containers/{identifier}/console").words
    await converse(browser, identifier, "")


def test_the_page_of_the_console_has_a_nonce_of_its_own(engine: Engine, browser: WebBrowser) -> None:
    identifier = engine.darse("run", "-d", BUSYBOX, "sleep", "1000").ok().line
    policies = [browser.get(f"/containers/{identifier}/console").headers["Content-Security-Policy"] for _ in range(2)]
    assert policies[0] != policies[1]
    assert all("style-src 'self' 'nonce-" in one and "unsafe" not in one for one in policies)
