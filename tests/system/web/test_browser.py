"""The dashboard in a real browser: Debian's chromium, driven by playwright.

With DARSE_SCREENSHOTS=DIRECTORY the pages are also written there as pictures.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install 'darse[browser]'"
)

from tests.support.clients import NODE_MODULES
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until
from tests.support.web import WebBrowser
from tests.system.web.conftest import WebProcess

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed (Debian: chromium)"),
    # playwright leaves its own loop to the garbage collector.
    pytest.mark.filterwarnings("ignore"),
]
SIZES = {"narrow": (360, 740), "wide": (1920, 1080)}
HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>\u202e"
# Names that a file may have and that markup, addresses, shells, terminals or readers from right to left take otherwise.
HOSTILE_NAMES = (
    *("<script>document.title='broken'<", "<img src=x onerror=alert(1)>", '"><b>bold', "' onclick='x", "&lt;b&gt;"),
    *("{{ 7*7 }}", "{% raw %}", "${7*7}", "%2e%2e%2f", "a?b#c", "a&path=", "a+b c", "..."),
    *("\u202egpj.exe", "\u200b", "a\nb", "\x1b[31mred", "-rf", "javascript:alert(1)", "é" * 100),
)
# Accessibility checks, where `make clients` has fetched them.
AXE = NODE_MODULES / "axe-core" / "axe.min.js"
SHOTS = os.environ.get("DARSE_SCREENSHOTS", "")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class View:
    """A window in which somebody is logged in; what the browser complains about is collected."""

    def __init__(self, chromium: Any, web: WebProcess, **options: Any) -> None:
        self.context = chromium.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.complaints: list[str] = []
        self.page.on("console", lambda one: self.complaints.append(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.base = f"http://127.0.0.1:{web.port}"
        self.page.goto(f"{self.base}/login#{web.next_token()}", wait_until="domcontentloaded")
        self.page.wait_for_selector(".figures")

    def open(self, path: str) -> Any:
        """Go to a page."""
        self.page.goto(f"{self.base}{path}", wait_until="domcontentloaded")
        return self.page

    def until(self, condition: str) -> None:
        """Wait for a condition. Not wait_for_function, which evaluates in the page, where the policy refuses it."""
        wait_until(lambda: self.page.evaluate(condition), 60, condition)

    def shot(self, name: str) -> None:
        """Keep a picture, where somebody wants them."""
        if SHOTS:
            self.page.screenshot(path=f"{SHOTS}/{name}.png")

    def check(self) -> None:
        """Nothing sticks out, nothing was refused by the policy, and accessibility checks find nothing."""
        width = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1], f"{self.page.url} is {width[0]} pixels wide"
        assert self.complaints == [], self.page.url
        if AXE.exists():
            self.page.evaluate(AXE.read_text())
            found = self.page.evaluate("axe.run()")["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found] == [], self.page.url


@pytest.fixture
def view(chromium: Any, engine: Engine, web: WebProcess) -> Iterator[View]:
    found = View(chromium, web)
    yield found
    found.context.close()


def objects(engine: Engine) -> list[str]:
    """Something of each kind; the paths of all pages."""
    engine.darse("network", "create", "back").ok()
    engine.darse("volume", "create", "data").ok()
    labels = (
        "--label",
        "com.docker.compose.project=shop",
        "--label",
        "com.docker.compose.service=api",
        "-l",
        f"x={HOSTILE}",
    )
    script = 'while :; do echo "$0 $((n=n+1))"; sleep 0.2; done'
    flags = ("--name", "one", "--network", "back", "-v", "data:/data", "-e", f"X={HOSTILE}", *labels)
    identifier = engine.darse("run", "-d", *flags, BUSYBOX, "sh", "-c", script, HOSTILE).ok().line
    image = engine.darse("inspect", "-f", "{{.Image}}", "one").ok().line
    network = engine.darse("network", "inspect", "-f", "{{.Id}}", "back").ok().line
    of_one = (
        "",
        "/logs",
        "/console",
        "/files",
        "/files?path=/etc/passwd",
        "/processes",
        "/changes",
        "/explain?last=start",
        "/inspect",
    )
    lists = ("/", "/containers", "/images", "/volumes", "/networks", "/projects", "/builds", "/events", "/create")
    single = (f"/images/{image}", f"/networks/{network}", "/volumes/data", "/projects/shop")
    return [*lists, *single, *(f"/containers/{identifier}{one}" for one in of_one)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_each_page_fits_and_is_accessible(
    chromium: Any, engine: Engine, web: WebProcess, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    paths = objects(engine)
    view = View(chromium, web, viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        for path in paths:
            page = view.open(path)
            page.wait_for_selector("main h1")
            assert page.title() != "broken"
            name = path.strip("/").split("?")[0].split("/")[-1][:12] or "overview"
            view.shot(f"{name}-{size}-{scheme}")
            view.check()
    finally:
        view.context.close()


def test_a_container_is_stopped_by_the_keyboard_alone(engine: Engine, view: View) -> None:
    engine.darse("run", "-d", "--name", "one", "--stop-timeout", "0", BUSYBOX, "sleep", "1000").ok()
    page = view.open("/containers")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Stop":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".message.good")
    assert engine.darse("inspect", "-f", "{{.State.Status}}", "one").ok().line == "exited"
    view.check()


def test_what_cannot_be_undone_is_asked_for(engine: Engine, view: View) -> None:
    identifier = engine.darse("create", "--name", "one", BUSYBOX, "true").ok().line
    page = view.open(f"/containers/{identifier}")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("button.danger")
    assert engine.darse("ps", "-aq", "--no-trunc").ok().line == identifier
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("button.danger")
    page.wait_for_url(f"{view.base}/containers")
    assert engine.darse("ps", "-aq").ok().line == ""


def test_logs_follow_and_names_are_text(engine: Engine, view: View) -> None:
    logs = next(path for path in objects(engine) if path.endswith("/logs"))
    page = view.open(logs)
    view.until("document.querySelectorAll('#log div').length > 15")
    assert HOSTILE in page.evaluate("document.querySelector('#log div:last-child bdi').textContent")
    assert page.title() != "broken"
    assert page.evaluate("document.querySelectorAll('#log img, #log script').length") == 0
    view.shot("logs")
    view.check()


def test_a_graph_moves(engine: Engine, view: View) -> None:
    identifier = engine.darse("run", "-d", BUSYBOX, "sh", "-c", "while :; do :; done").ok().line
    page = view.open(f"/containers/{identifier}")
    page.wait_for_selector(".graph canvas")
    view.until("Number(document.querySelector('[data-graph]').dataset.points) >= 3")
    view.shot("graphs")
    view.check()


def test_a_console_takes_what_is_typed(engine: Engine, view: View) -> None:
    identifier = engine.darse("run", "-d", BUSYBOX, "sleep", "1000").ok().line
    page = view.open(f"/containers/{identifier}/console")
    page.click("#console-form button.main")
    view.until("document.querySelector('.xterm-rows')?.textContent.includes('#')")
    page.keyboard.type("echo $((6*7))-\n")
    view.until("document.querySelector('.xterm-rows').textContent.includes('42-')")
    view.shot("console")
    view.check()
    page.keyboard.press("Control+Shift+Tab")
    assert page.evaluate("document.activeElement.name") == "command"


def test_a_list_is_fresh_without_a_reload(engine: Engine, view: View) -> None:
    page = view.open("/containers")
    page.wait_for_load_state("load")
    engine.darse("run", "-d", "--name", "later", BUSYBOX, "sleep", "1000").ok()
    page.wait_for_selector("text=later")
    view.check()


def test_a_form_creates_a_container(engine: Engine, view: View) -> None:
    page = view.open("/create")
    page.fill("#image", BUSYBOX)
    page.fill("#name", "made")
    page.fill("#command", "sleep 1000")
    page.click("main button.main")
    page.wait_for_selector(".message.good")
    assert engine.darse("inspect", "-f", "{{.State.Status}}", "made").ok().line == "running"


def test_a_pull_shows_what_it_does(view: View) -> None:
    page = view.open("/images")
    page.fill("#pull input[name=image]", "localhost:1/nothing")
    page.click("#pull button")
    page.wait_for_selector("#pull-progress .bad")
    assert "localhost:1" in page.text_content("#pull-progress")


def test_the_theme_and_the_language_are_chosen(view: View) -> None:
    page = view.open("/containers")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("text=Français")
    page.wait_for_selector("text=Conteneurs")
    assert page.evaluate("document.documentElement.lang") == "fr"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    view.check()


def test_without_scripts_pages_work(chromium: Any, engine: Engine, browser: WebBrowser) -> None:
    engine.darse("run", "-d", "--name", "one", "--stop-timeout", "0", BUSYBOX, "sleep", "1000").ok()
    context = chromium.new_context(java_script_enabled=False)
    try:
        cookies = [{"name": name, "value": value, "url": browser.origin} for name, value in browser.cookies.items()]
        context.add_cookies(cookies)
        page = context.new_page()
        page.goto(f"{browser.origin}/containers")
        page.click("text=Stop")
        page.wait_for_selector(".message.good")
        assert engine.darse("inspect", "-f", "{{.State.Status}}", "one").ok().line == "exited"
    finally:
        context.close()


def test_files_are_browsed_uploaded_and_downloaded(
    chromium: Any, engine: Engine, web: WebProcess, tmp_path: Path
) -> None:
    """By the keyboard, in French, on a narrow screen; names are text, whatever they are."""
    identifier = engine.darse("run", "-d", "--name", "one", BUSYBOX, "sleep", "1000").ok().line
    for name in HOSTILE_NAMES:
        engine.darse("exec", "one", "sh", "-c", 'mkdir -p /d/sub; echo "$1" >"/d/$1"', "sh", name).ok()
    view = View(chromium, web, viewport={"width": 360, "height": 740}, locale="fr-FR")
    try:
        page = view.open(f"/containers/{identifier}/files?path=/d")
        page.wait_for_selector("text=Téléverser")
        shown = page.eval_on_selector_all("#files th a bdi", "all => all.map(one => one.textContent)")
        assert (shown[0], sorted(shown[1:])) == ("sub", sorted(HOSTILE_NAMES))
        assert page.evaluate("document.querySelectorAll('#files script, #files img, #files b').length") == 0
        view.check()
        for name in HOSTILE_NAMES:
            href = page.eval_on_selector_all(
                "#files th a", "(all, name) => all.find(one => one.textContent === name).href", name
            )
            answer = page.context.request.get(href)
            assert (answer.status, href.split("=")[0]) == (200, f"{page.url.split('=')[0]}"), name
        page.focus("#files th a")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Il n'y a rien dedans.")
        (tmp_path / "<b>sent").write_bytes(b"\0\1" * 40_000)
        page.set_input_files("input[type=file]", tmp_path / "<b>sent")
        page.focus("main button.main")
        page.keyboard.press("Enter")
        page.wait_for_selector(".message.good")
        assert "<b>sent est téléversé." in page.text_content(".message.good")
        view.check()
        page.click("#files th a")
        page.wait_for_selector("text=Ce n'est pas du texte.")
        with page.expect_download() as waiting:
            page.click("a[download]")
        assert Path(waiting.value.path()).read_bytes() == b"\0\1" * 40_000
        view.check()
        assert page.title() != "broken"
    finally:
        view.context.close()
