"""Each page and each action of the dashboard, with a real engine."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until
from tests.support.web import WebAnswer, WebBrowser
from tests.system.scale.test_scale import resident
from tests.system.web.conftest import WebProcess

LOOP = 'while :; do echo "line $((n=n+1)) needle$((n%3))"; sleep 0.2; done'


def run(engine: Engine, *arguments: str, name: str = "one", script: str = LOOP) -> str:
    """A container that prints lines."""
    return engine.darse("run", "-d", "--name", name, *arguments, BUSYBOX, "sh", "-c", script).ok().line


def state(engine: Engine, name: str) -> str:
    return engine.darse("inspect", "-f", "{{.State.Status}}", name).out.strip()


def test_each_page_shows_what_is_there(engine: Engine, browser: WebBrowser) -> None:
    engine.darse("network", "create", "back").ok()
    engine.darse("volume", "create", "data").ok()
    labels = ("--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=api")
    identifier = run(engine, "--network", "back", "-v", "data:/data", "-e", "GREETING=hello", *labels)
    image = engine.darse("inspect", "-f", "{{.Image}}", "one").ok().line
    network = engine.darse("network", "inspect", "-f", "{{.Id}}", "back").ok().line
    shown = {
        "/": ["one", BUSYBOX, "Running"],
        "/containers": ["one", BUSYBOX, "running"],
        f"/containers/{identifier}": ["back", "/data", "GREETING=hello", identifier],
        f"/containers/{identifier}/logs": ["line 1 needle1"],
        f"/containers/{identifier}/inspect": ['"OOMKilled": false'],
        f"/containers/{identifier}/processes": ["PID", "sleep"],
        f"/containers/{identifier}/changes": ["added", "/data"],
        f"/containers/{identifier}/explain?last=start": ["start", "overlay", "ms"],
        "/create": ["back", "unless-stopped"],
        "/images": [BUSYBOX],
        f"/images/{image}": [image, "Layers"],
        "/volumes": ["data", "one"],
        "/volumes/data": ["one", '"Driver": "local"'],
        "/networks": ["back", "bridge"],
        f"/networks/{network}": ["one"],
        "/networks.svg": ["back", "one"],
        "/projects": ["shop", "one"],
        "/projects/shop": ["api", "one"],
        "/builds": ["Builds"],
        "/events": ["start", "one"],
    }
    for path, words in shown.items():
        answer = browser.get(path)
        assert answer.status == 200, (path, answer.text)
        for word in words:
            assert word in answer.words, (path, word)


def test_pages_are_in_french(browser: WebBrowser) -> None:
    assert "Vue d'ensemble" in browser.get("/", Accept_Language="fr-FR,fr").words
    assert browser.post("/language", {"language": "fr", "path": "/images"}).location == "/images"
    answer = browser.get("/images")
    assert 'lang="fr"' in answer.text
    assert "Conteneurs" in answer.words


def test_a_container_is_stopped_started_paused_and_removed(engine: Engine, browser: WebBrowser) -> None:
    identifier = run(engine, "--stop-timeout", "1")
    for action, after in (
        ("pause", "paused"), ("unpause", "running"), ("restart", "running"), ("kill", "exited"), ("start", "running"),
        ("stop", "exited"),
    ):  # fmt: skip
        answer = browser.post(f"/containers/{identifier}/{action}")
        assert (answer.status, answer.location) == (303, f"/containers/{identifier}"), action
        wait_until(lambda after=after: state(engine, "one") == after, what=f"{action}: {after}")
        assert "Done." in browser.get(f"/containers/{identifier}").words
    assert browser.post(f"/containers/{identifier}/remove").location == "/containers"
    assert engine.darse("ps", "-aq").ok().line == ""


def test_what_the_engine_refuses_is_shown(engine: Engine, browser: WebBrowser) -> None:
    identifier = run(engine)
    assert browser.post(f"/containers/{identifier}/remove").location == f"/containers/{identifier}"
    assert "container is running" in browser.get(f"/containers/{identifier}").words
    assert browser.post(f"/containers/{identifier}/remove", {"force": "1"}).location == "/containers"
    answer = browser.get(f"/containers/{identifier}")
    assert answer.status == 404
    assert "No such container" in answer.words


def test_a_container_is_created_from_the_form(engine: Engine, browser: WebBrowser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fields = {
        "image": BUSYBOX, "name": "made", "command": "sh -c 'sleep 1000'", "ports": f"127.0.0.1:{port}:80",
        "volumes": "kept:/kept", "environment": "A=b c\nD=e", "memory": "64m", "cpus": "0.5",
        "restart": "unless-stopped", "network": "", "start": "1",
    }  # fmt: skip
    answer = browser.post("/create", fields)
    assert answer.status == 303, answer.text
    made = json.loads(engine.darse("inspect", "made").ok().out)[0]
    assert made["State"]["Running"]
    assert made["Config"]["Cmd"] == ["sh", "-c", "sleep 1000"]
    assert made["Config"]["Env"][-2:] == ["A=b c", "D=e"]
    host = made["HostConfig"]
    assert (host["Memory"], host["NanoCpus"]) == (64 << 20, 500_000_000)
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    assert host["Binds"] == ["kept:/kept"]


@pytest.mark.parametrize(
    "wrong",
    [{"ports": "x:80"}, {"memory": "much"}, {"cpus": "x"}, {"command": "'"}, {"restart": "maybe"}, {"image": ""}],
)
def test_a_form_that_is_not_right_creates_nothing(engine: Engine, browser: WebBrowser, wrong: dict[str, str]) -> None:
    assert browser.post("/create", {"image": BUSYBOX, **wrong}).status == 400
    assert engine.darse("ps", "-aq").ok().line == ""


def test_volumes_and_networks_are_made_and_removed(engine: Engine, browser: WebBrowser) -> None:
    assert browser.post("/volumes", {"name": "data"}).location == "/volumes/data"
    assert engine.darse("volume", "ls", "-q").ok().line == "data"
    assert browser.post("/volumes/data/remove").location == "/volumes"
    assert engine.darse("volume", "ls", "-q").ok().line == ""
    path = browser.post("/networks", {"name": "inside", "internal": "1"}).location
    assert engine.darse("network", "inspect", "-f", "{{.Internal}}", "inside").ok().line == "true"
    assert browser.post(f"{path}/remove").location == "/networks"
    assert "inside" not in engine.darse("network", "ls").ok().out


def test_an_image_is_tagged_and_untagged(engine: Engine, browser: WebBrowser) -> None:
    run(engine)
    image = engine.darse("inspect", "-f", "{{.Image}}", "one").ok().line
    assert browser.post(f"/images/{image}/tag", {"name": "mine:two"}).status == 303
    assert "mine:two" in browser.get("/images").words
    assert browser.post("/images/mine%3Atwo/remove").location == "/images"
    assert "mine" not in engine.darse("images").ok().out


def test_a_project_is_stopped_and_started(engine: Engine, browser: WebBrowser) -> None:
    for service in ("api", "worker"):
        labels = ("--label", "com.docker.compose.project=shop", "--label", f"com.docker.compose.service={service}")
        run(engine, *labels, "--stop-timeout", "0", name=service)
    assert browser.post("/projects/shop/stop").status == 303
    assert [state(engine, name) for name in ("api", "worker")] == ["exited"] * 2
    browser.post("/projects/shop/start")
    assert [state(engine, name) for name in ("api", "worker")] == ["running"] * 2
    assert browser.post("/projects/other/stop").status == 404
    assert browser.post("/projects/shop/remove").status == 400


def test_logs_go_on_from_where_they_were(engine: Engine, browser: WebBrowser) -> None:
    identifier = run(engine)
    path = f"/containers/{identifier}/logs/stream"
    lines = [json.loads(data) for _, data in browser.events(path, 5)]
    assert [one["text"].split()[1] for one in lines] == ["1", "2", "3", "4", "5"]
    again = [json.loads(data) for _, data in browser.events(path, 2, Last_Event_ID=lines[2]["time"])]
    assert [one["text"].split()[1] for one in again] == ["4", "5"]


def test_logs_are_searched(engine: Engine, browser: WebBrowser) -> None:
    identifier = run(engine)
    lines = [json.loads(data) for _, data in browser.events(f"/containers/{identifier}/logs/stream?search=NEEDLE0", 2)]
    assert [one["text"] for one in lines] == ["line 3 needle0", "line 6 needle0"]
    page = browser.get(f"/containers/{identifier}/logs?search=needle0")
    assert "line 3" in page.words
    assert "line 4" not in page.words


def test_logs_end_with_their_container(engine: Engine, browser: WebBrowser) -> None:
    identifier = run(engine, script="echo out; echo err >&2")
    events = browser.events(f"/containers/{identifier}/logs/stream", 3)
    assert [name for name, _ in events] == ["line", "line", "end"]
    assert {json.loads(data)["error"] for _, data in events[:2]} == {True, False}


def test_events_come_as_they_happen(engine: Engine, browser: WebBrowser) -> None:
    """A container that execs something again and again makes them."""
    health = ("--health-cmd", "true", "--health-interval", "1s")
    identifier = run(engine, *health, script="sleep 1000")
    found = [json.loads(data) for _, data in browser.events("/events/stream", 1)]
    assert (found[0]["type"], found[0]["id"]) == ("container", identifier)


def test_figures_come_while_somebody_looks(engine: Engine, browser: WebBrowser) -> None:
    identifier = run(engine, script="while :; do :; done")
    browser.events("/usage/stream?of=all", 1)
    found = json.loads(browser.events(f"/usage/stream?of={identifier}", 1)[0][1])
    cpu, memory, *_ = found["points"][identifier]
    assert cpu > 5
    assert memory > 0
    history = json.loads(browser.get(f"/usage/history?of={identifier}").text)
    assert len(history["time"]) == len(history["cpu"]) > 0
    assert "%" in browser.get("/containers").words


def test_an_image_is_pulled_with_its_progress(engine: Engine, browser: WebBrowser) -> None:
    answer = browser.post("/pull", {"image": "localhost:1/nothing"})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert "event: end" in answer.text
    assert "localhost:1" in answer.text


def test_a_build_is_shown_with_its_graph(engine: Engine, browser: WebBrowser, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nRUN echo '<b>built</b>' && touch /made\n")
    engine.darse("build", "-q", "-t", "made", str(tmp_path), timeout=120).ok()
    page = browser.get("/builds")
    assert "made" in page.words
    found = re.search(r'href="(/builds/[^"]+)"', page.text)
    assert found is not None
    shown = browser.get(found[1])
    assert "<b>built</b>" in shown.words
    picture = browser.get(f"{found[1]}/graph.svg")
    assert picture.status == 200
    assert picture.headers["Content-Type"].startswith("image/svg+xml")


def test_what_is_done_is_recorded(engine: Engine, browser: WebBrowser, web_log: Path) -> None:
    before = web_log.read_text().count("\n")
    identifier = run(engine, "--stop-timeout", "0")
    browser.post(f"/containers/{identifier}/stop")
    wait_until(lambda: web_log.read_text().count("\n") > before, what="the record")
    records: list[dict[str, Any]] = [json.loads(line) for line in web_log.read_text().splitlines()[before:]]
    assert [(one["user"], one["action"], one["outcome"]) for one in records] == [
        ("token", "/containers/{id}/stop", "done"),
    ]


def test_users_of_a_file_log_in_in_their_roles(engine: Engine, tmp_path: Path) -> None:
    users = tmp_path / "users"
    for name, role in (("alice", "operate"), ("bob", "look")):
        engine.darse("web", "--users", str(users), "--set-user", f"{name}:{role}", input=f"password of {name}\n").ok()
    identifier = run(engine, "--stop-timeout", "0")
    process = WebProcess(engine, "--users", str(users), "--audit-log", str(tmp_path / "audit.log"))
    try:
        bob, alice = WebBrowser(process.port), WebBrowser(process.port)
        bob.log_in("bob", "password of bob")
        alice.log_in("alice", "password of alice")
        assert bob.post("/login", {"user": "alice", "password": "password of bob"}).status == 403
        bob.get("/containers")
        assert bob.post(f"/containers/{identifier}/stop").status == 403
        assert state(engine, "one") == "running"
        assert alice.post(f"/containers/{identifier}/remove").status == 403
        assert alice.post(f"/containers/{identifier}/stop").status == 303
        assert state(engine, "one") == "exited"
    finally:
        process.close()


def test_it_speaks_tls_and_nothing_else_to_other_machines(engine: Engine, tmp_path: Path) -> None:
    refused = engine.darse("web", "--address", "0.0.0.0", "--port", "0")
    assert refused.status == 1
    assert "--tlscert and --tlskey" in refused.err
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    command = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    )
    subprocess.run([*command, *subject], check=True, capture_output=True)
    flags = ("--tlscert", str(certificate), "--tlskey", str(key), "--server-name", "localhost")
    process = engine.darse.popen("web", "--port", "0", *flags, "--audit-log", str(tmp_path / "log"))
    try:
        assert process.stdout is not None
        text = process.stdout.readline().decode() + process.stdout.readline().decode()
        found = re.search(r"https://localhost:(\d+)/login#(\S+)", text)
        assert found is not None, text
        curl = ("curl", "-sS", "-i", "--cacert", str(certificate), "-m", "20")
        url = f"https://localhost:{found[1]}"
        login = ("-H", f"Origin: {url}", "--data-urlencode", f"token={found[2]}", f"{url}/login")
        answer = subprocess.run([*curl, *login], capture_output=True, text=True, check=True).stdout
        assert " 303" in answer.splitlines()[0]
        cookie = next(line for line in answer.splitlines() if line.lower().startswith("set-cookie"))
        assert "__Host-darse=" in cookie
        assert "Secure" in cookie
        assert "Strict-Transport-Security: max-age=31536000" in answer
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_without_an_engine_it_says_so(tmp_path: Path, engine: Engine) -> None:
    environment = {"DARSE_HOST": f"unix://{tmp_path}/none.sock", "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    done = engine.darse("web", "--port", "0", "--audit-log", str(tmp_path / "log"), env=environment)
    assert done.status == 1
    assert "Cannot connect" in done.err


def upload(browser: WebBrowser, path: str, name: str, content: bytes, csrf: str | None = None) -> WebAnswer:
    """Send a file as a form does."""
    parts = (("csrf", "", (browser.csrf if csrf is None else csrf).encode()), ("file", name, content))
    body = b""
    for field, file_name, data in parts:
        head = f'--x\r\nContent-Disposition: form-data; name="{field}"'
        head += f'; filename="{file_name}"\r\nContent-Type: application/octet-stream' if file_name else ""
        body += head.encode() + b"\r\n\r\n" + data + b"\r\n"
    headers = {"Origin": browser.origin, "Content-Type": "multipart/form-data; boundary=x"}
    return browser.request("POST", path, headers, (body + b"--x--\r\n").decode())


@pytest.mark.parametrize("running", [True, False])
def test_files_are_listed_read_and_uploaded(engine: Engine, browser: WebBrowser, web_log: Path, running: bool) -> None:
    script = (
        "mkdir -p /d/sub /d/one; cd /d; printf 'h\\033[31mi\\n' >text; printf '\\0\\1' >binary; ln -s text link; "
        "ln -s /etc up; mkfifo pipe; printf x >\"$(printf 'a\\377')\"; dd if=/dev/zero of=large bs=1M count=3; "
        "echo 1 >one/f; touch /r; "
    )
    identifier = run(engine, script=script + ("exec sleep 1000" if running else "true"))
    wait_until(lambda: engine.darse("cp", "one:/r", "-").status == 0, what="the files")
    if not running:
        engine.darse("wait", "one").ok()
    base = f"/containers/{identifier}/files"
    listed = browser.get(f"{base}?path=/d/../d/")
    for words in ("sub/", "text", "link → /d/text", "up → /etc", "prw", "3.1 MB", "a\ufffd"):
        assert words in listed.words, (words, listed.words)
    assert listed.text.index(">sub<") < listed.text.index(">binary<")
    assert browser.get(f"{base}?path=/d/link").location == f"{base}?path=%2Fd%2Ftext"
    assert browser.get(f"{base}?path=/d/up/passwd").status == 200
    assert "hi\n" in browser.get(f"{base}?path=/d/text").words
    assert "This is no text." in browser.get(f"{base}?path=/d/binary").words
    assert "This is no file with content." in browser.get(f"{base}?path=/d/pipe").words
    assert browser.get(f"{base}?path=/d/nothing").status == 404
    assert browser.get(f"{base}?path=%00").status == 400
    # What the kernel shows is the host's.
    assert "Nothing is in it." in browser.get(f"{base}?path=/proc").words or not running
    large = browser.get(f"{base}/download?path=/d/large")
    assert (large.headers["Content-Length"], len(large.text), large.text.strip("\0")) == ("3145728", 3 << 20, "")
    assert large.headers["Content-Disposition"] == "attachment; filename*=UTF-8''large"
    assert large.headers["Content-Type"] == "application/octet-stream"
    archive = browser.get(f"{base}/download?path=/d/one")
    with tarfile.open(fileobj=io.BytesIO(archive.text.encode())) as opened:
        names = opened.getnames()
    assert (names, archive.headers["Content-Disposition"][-7:]) == (["one", "one/f"], "one.tar")
    assert browser.get(f"{base}/download?path=/d/pipe").status == 404
    assert upload(browser, f"{base}?path=/d/sub", "../../évil.txt", b"new\n" * 50_000).status == 303
    assert "évil.txt is uploaded." in browser.get(f"{base}?path=/d/sub").words
    assert engine.darse("cp", "one:/d/sub/évil.txt", "-").ok().raw.count(b"new\n") == 50_000
    # A directory stays one.
    assert upload(browser, f"{base}?path=/d", "sub", b"x").status == 303
    assert "sub/" in browser.get(f"{base}?path=/d").words
    assert upload(browser, f"{base}?path=/d", "x", b"x", csrf="wrong").status == 403
    assert upload(browser, f"{base}?path=/d", "..", b"x").status == 400
    assert upload(browser, f"{base}?path=/d", "x", bytes((16 << 20) + 1)).status == 413
    assert engine.darse("cp", "one:/d/x", "-").status != 0
    records = [json.loads(line) for line in web_log.read_text().splitlines()]
    assert any(one["objects"].get("path") == "/d/sub/évil.txt" and one["outcome"] == "done" for one in records)
    assert records[-1]["outcome"].startswith("refused: 413")


def test_two_hundred_viewers_get_what_happens(engine: Engine, web: WebProcess, tell: Callable[[str], None]) -> None:
    """Also while some of them read nothing; and a session has no more streams than its limit."""
    browsers = [web.browser() for _ in range(10)]
    with contextlib.ExitStack() as opened:

        def follow(browser: WebBrowser) -> socket.socket:
            viewer = opened.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=30))
            head = f"GET /events/stream HTTP/1.1\r\nHost: {browser.host}\r\nCookie: {browser.cookie_header}\r\n\r\n"
            viewer.sendall(head.encode())
            return viewer

        before = resident(web.process.pid)
        viewers = [follow(browser) for browser in browsers for _ in range(20)]
        for viewer in viewers:
            assert b" 200 " in viewer.recv(4096)
        wait_until(lambda: engine.api("GET", "/info").json()["NEventsListener"] >= len(viewers), what="the streams")
        grown = (resident(web.process.pid) - before) / 1000
        began = time.monotonic()
        engine.darse("create", "--name", "seen", BUSYBOX, "true").ok()
        for viewer in viewers[20:]:
            text = b""
            while b'"create"' not in text:
                text += viewer.recv(65536)
        tell(
            f"dashboard: {len(viewers)} viewers, 20 of whom read nothing, have an event after "
            f"{time.monotonic() - began:.2f} s; the process grows by {grown:.1f} MB"
        )
        refused = [follow(browsers[0]) for _ in range(5)]
        assert b" 429 " in refused[-1].recv(4096)
    assert browsers[0].get("/containers").status == 200
