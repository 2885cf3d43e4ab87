"""`darse web` before a real engine."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

for _package in ("argon2", "jinja2"):
    pytest.importorskip(_package, reason=f"{_package} is not installed: `make setup-test` installs it")

from tests.support.engine import Engine
from tests.support.web import WebBrowser

_URL = re.compile(r"http://([\w.]+):(\d+)/login#(\S+)")


class WebProcess:
    """The process, and the token that it has printed."""

    def __init__(self, engine: Engine, *flags: str) -> None:
        self.process = engine.darse.popen("web", "--port", "0", *flags, stderr=subprocess.STDOUT)
        assert self.process.stdout is not None
        text = ""
        while (found := _URL.search(text)) is None:
            line = self.process.stdout.readline().decode()
            assert line, f"darse web has ended: {text}"
            text += line
        self.port, self.token = int(found[2]), found[3]

    def next_token(self) -> str:
        """Another one."""
        self.process.send_signal(signal.SIGHUP)
        assert self.process.stdout is not None
        while line := self.process.stdout.readline().decode():
            if (found := _URL.search(line)) is not None:
                return found[3]
        raise AssertionError(f"darse web has ended, with {self.process.wait()}")

    def browser(self) -> WebBrowser:
        """A browser in which somebody is logged in."""
        browser = WebBrowser(self.port)
        browser.log_in_with_token(self.next_token())
        return browser

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, output.decode()
        assert b"Traceback" not in output, output.decode()


@pytest.fixture(scope="session")
def web_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the dashboard's records are."""
    return tmp_path_factory.mktemp("web") / "audit.log"


@pytest.fixture(scope="session")
def web(session_engine: Engine, web_log: Path) -> Iterator[WebProcess]:
    """One dashboard for a whole test process."""
    process = WebProcess(session_engine, "--audit-log", str(web_log))
    yield process
    process.close()


@pytest.fixture
def browser(engine: Engine, web: WebProcess) -> WebBrowser:
    """Somebody is logged in."""
    return web.browser()
