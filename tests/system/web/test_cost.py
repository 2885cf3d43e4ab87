"""What the dashboard and the metrics cost while somebody looks: processor and memory."""

from __future__ import annotations

import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install 'darse[browser]'"
)

from tests.support.engine import Engine
from tests.support.ports import free_port
from tests.support.waiting import wait_until
from tests.system.scale.test_scale import resident, start
from tests.system.web.conftest import WebProcess

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed (Debian: chromium)"),
    # playwright leaves its own loop to the garbage collector.
    pytest.mark.filterwarnings("ignore"),
]
CONTAINERS = 100
SECONDS = 60.0
MOST_PERCENT = 2.0
# In kB. Python and asyncio take 10 MB, aiohttp's server and what it needs 8, jinja2 2: less than 20 is not to be had
# in a process of its own.
MOST_MEMORY = 32_000
MOST_METRICS = 5_000


def processor(*pids: int) -> float:
    """Seconds that processes have had a processor (/proc/PID/task/TID/schedstat: nanoseconds)."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def percent(*pids: int) -> float:
    """What they take of a processor over a minute: a rate is measured, so time has to pass."""
    before, began = processor(*pids), time.monotonic()
    time.sleep(SECONDS)
    return 100 * (processor(*pids) - before) / (time.monotonic() - began)


def test_one_viewer_of_a_hundred_containers(new_engine: Callable[..., Engine], tell: Callable[[str], None]) -> None:
    """At most 2 % of a processor, engine and dashboard together, beyond the engine alone."""
    port = free_port()
    plain = new_engine()
    for number in range(CONTAINERS):
        start(plain, f"sleeper{number}", "sleep", "100000")
    alone = percent(plain.pid)
    memory = resident(plain.pid)
    plain.stop()
    plain.flags = (*plain.flags, f"--metrics-addr=127.0.0.1:{port}")
    plain.up()
    web = WebProcess(plain)
    try:
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            )
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{web.port}/login#{web.token}", wait_until="domcontentloaded")
            page.wait_for_selector(".figures")
            page.goto(f"http://127.0.0.1:{web.port}/containers", wait_until="domcontentloaded")
            wait_until(lambda: page.evaluate("document.querySelectorAll('tr[data-id]').length") == CONTAINERS, 30)
            looked_at = percent(plain.pid, web.process.pid)
            before = resident(plain.pid)
            for _ in range(4):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read()
            scraped = resident(plain.pid) - before
            dashboard = resident(web.process.pid)
            browser.close()
    finally:
        web.close()
    tell(
        f"dashboard: with {CONTAINERS} containers and one viewer engine and dashboard take {looked_at:.2f} % of a "
        f"processor, the engine alone {alone:.2f} %; the dashboard's memory is {dashboard / 1000:.1f} MB, the engine's "
        f"{memory / 1000:.1f} MB alone and {scraped / 1000:.1f} MB more for metrics"
    )
    assert looked_at - alone <= MOST_PERCENT
    assert dashboard <= MOST_MEMORY
    assert scraped <= MOST_METRICS
