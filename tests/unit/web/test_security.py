"""What the dashboard refuses: rebinding, forged requests, fixation, roles that are too low, and markup in names."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darse.web.accounts import Role
from darse.web.limits import RateLimit
from darse.web.pages import all_pages
from darse.web.routing import PageRoute
from darse.web.server import WebServer
from tests.support.fake_engine import FakeEngine
from tests.support.waiting import wait_until
from tests.support.web import WebBrowser

ROWS = all_pages().rows
ID = "0123456789ab" * 5 + "abcd"
AsRole = Callable[[Role], WebBrowser]


def path_of(row: PageRoute) -> str:
    """A path that the row takes."""
    return re.sub(r"\{(\w+)\}", lambda found: "start" if found[1] == "action" else ID, row.path)


# Host


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
        "[::2]:{port}",
        "localhost.:{port}x",
    ],
)
def test_another_host_name_gets_nothing(browser: WebBrowser, host: str) -> None:
    """DNS rebinding: a name of the attacker's that leads here."""
    for path in ("/", "/login", "/static/page.js", "/usage/history"):
        answer = browser.get(path, Host=host.format(port=browser.port))
        assert answer.status == 421, path
        assert "<" not in answer.text


def test_two_host_names_are_none(served: WebServer) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        lines = [
            f"GET /login HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        ]
        connection.sendall("".join(lines).encode())
        assert connection.recv(100).split()[1] in (b"400", b"421")


@pytest.mark.parametrize("name", ["localhost", "dock.example", "DOCK.example"])
def test_its_own_names_are_known(served: WebServer, name: str) -> None:
    assert WebBrowser(served.port, name).get("/login").status == 200


# Login


def test_a_page_needs_a_session(browser: WebBrowser) -> None:
    for row in ROWS:
        if row.role is None:
            continue
        answer = browser.request(
            row.method, path_of(row), {"Origin": browser.origin}, "" if row.method == "POST" else None
        )
        if row.method == "GET":
            assert (answer.status, answer.location) == (303, "/login"), row.path
        else:
            assert answer.status == 401, row.path


def test_a_token_logs_in_once(served: WebServer, browser: WebBrowser) -> None:
    token = served.dashboard.sessions.new_token()
    assert browser.post("/login", {"token": token}).status == 303
    assert WebBrowser(served.port).post("/login", {"token": token}).status == 403


def test_a_login_makes_a_new_session_whatever_cookie_came(served: WebServer, browser: WebBrowser) -> None:
    """Session fixation: the number that an attacker has put into the browser stays worth nothing."""
    browser.cookies["darse-session"] = fixed = "attackers-number"
    assert browser.post("/login", {"token": served.dashboard.sessions.new_token()}).status == 303
    assert browser.cookies["darse-session"] not in ("", fixed)
    other = WebBrowser(served.port)
    other.cookies["darse-session"] = fixed
    assert other.get("/events/stream").status in (303, 401)


def test_a_second_login_ends_the_session_before(served: WebServer, browser: WebBrowser) -> None:
    browser.post("/login", {"token": served.dashboard.sessions.new_token()})
    before = browser.cookies["darse-session"]
    browser.post("/login", {"token": served.dashboard.sessions.new_token()})
    assert served.dashboard.sessions.find(before) is None


def test_the_cookie_is_for_this_site_only(served: WebServer, browser: WebBrowser) -> None:
    answer = browser.post("/login", {"token": served.dashboard.sessions.new_token()})
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


def test_a_logout_ends_the_session(served: WebServer, as_role: AsRole) -> None:
    browser = as_role(Role.LOOK)
    stolen = dict(browser.cookies)
    assert browser.post("/logout").location == "/login"
    browser.cookies = stolen
    assert browser.get("/containers").location == "/login"
    assert len(served.dashboard.sessions) == 0


def test_logins_that_are_right_do_not_count(served: WebServer, browser: WebBrowser) -> None:
    for _ in range(10):
        assert browser.post("/login", {"token": served.dashboard.sessions.new_token()}).status == 303


def test_passwords_cannot_be_guessed_fast(browser: WebBrowser) -> None:
    statuses = [browser.post("/login", {"token": str(number)}).status for number in range(8)]
    assert statuses == [403] * 6 + [429] * 2


# Forged requests


ORIGINS = ["", "null", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1", "http://localhost:{port}"]


@pytest.mark.parametrize("row", [row for row in ROWS if row.method == "POST"], ids=lambda row: row.path)
def test_a_form_of_another_site_is_refused(admin: WebBrowser, fake: FakeEngine, row: PageRoute) -> None:
    for origin in ORIGINS:
        fields = {"image": "x", "name": "x", "language": "fr"}
        answer = admin.post(path_of(row), fields, Origin=origin.format(port=admin.port))
        assert answer.status == 403, origin
    assert not [one for one in fake.requests() if one.method != "GET"]


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.method == "POST" and row.role is not None], ids=lambda row: row.path
)
def test_a_form_without_its_token_is_refused(
    admin: WebBrowser, as_role: AsRole, fake: FakeEngine, row: PageRoute
) -> None:
    fake.requests()
    for token in ("", "x", as_role(Role.ADMINISTRATE).csrf):
        answer = admin.post(path_of(row), {"csrf": token, "image": "x", "name": "x"})
        assert answer.status == 403, token
    assert not [one for one in fake.requests() if one.method != "GET"]


def test_another_site_cannot_read_what_is_no_page(admin: WebBrowser) -> None:
    """Even where a browser sends the cookie: Fetch Metadata."""
    for site in ("cross-site", "same-site"):
        answer = admin.get("/usage/history", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="script")
        assert answer.status == 403
        answer = admin.get("/networks", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe")
        assert answer.status == 403
    assert (
        admin.get("/networks", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document").status
        == 200
    )


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/\r\nX: y", ""]
)
def test_a_choice_of_language_leads_nowhere_else(browser: WebBrowser, path: str) -> None:
    answer = browser.post("/language", {"language": "fr", "path": path})
    assert answer.status in (303, 403)
    assert answer.location in ("", "/")


# Roles


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.role is not None and row.role > Role.LOOK],
    ids=lambda row: f"{row.method} {row.path}",
)
def test_a_role_that_is_too_low_is_refused(as_role: AsRole, fake: FakeEngine, row: PageRoute) -> None:
    assert row.role is not None
    for role in Role:
        if role >= row.role:
            continue
        browser = as_role(role)
        fake.requests()
        if row.method == "POST":
            answer = browser.post(path_of(row), {"image": "x", "name": "x"})
        else:
            answer = browser.get(path_of(row))
        assert answer.status == 403, role
        assert not [one for one in fake.requests() if one.path != "/darse/usage"]


def test_what_each_role_may_do_is_as_documented() -> None:
    changing = {row.path: row.role for row in ROWS if row.method == "POST" and row.role is not None}
    operate = {path for path, role in changing.items() if role is Role.OPERATE}
    words = ("start", "stop", "restart", "kill", "pause", "unpause")
    assert operate == {*(f"/containers/{{id}}/{word}" for word in words), "/projects/{name}/{action}", "/pull"}
    assert {path for path, role in changing.items() if role is Role.LOOK} == {"/logout"}


def test_an_environment_is_not_shown_to_who_may_look_only(as_role: AsRole, fake: FakeEngine) -> None:
    document = inspected()
    document["Config"]["Env"] = ["PASSWORD=secret-word"]
    fake.answers["GET", f"/containers/{ID}/json"] = document
    for path in ("", "/inspect"):
        assert "secret-word" not in as_role(Role.LOOK).get(f"/containers/{ID}{path}").text
        assert "PASSWORD" in as_role(Role.LOOK).get(f"/containers/{ID}{path}").text
        assert "secret-word" in as_role(Role.OPERATE).get(f"/containers/{ID}{path}").text


# Answers


def test_every_answer_has_its_policy(admin: WebBrowser, browser: WebBrowser) -> None:
    paths = ["/", "/login", "/nowhere", "/static/page.js", "/networks.svg", "/usage/history", "/containers"]
    for answer in [one.get(path) for one in (admin, browser) for path in paths]:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Server"] == "darse"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/vendor/VENDORED.md",
        "/static/",
        "/static//etc/passwd",
        "/../../etc/passwd",
    ],
)
def test_only_the_files_of_the_table_are_served(browser: WebBrowser, path: str) -> None:
    assert browser.get(path).status == 404


def test_files_are_sent_once(browser: WebBrowser) -> None:
    answer = browser.get("/static/page.js")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert browser.get("/static/page.js", If_None_Match=answer.headers["ETag"]).status == 304


BROKEN_FORMS = [
    b"",
    b"--x",
    b"--x\r\n\r\n",
    b"--x\r\nContent-Disposition: form-data\r\n\r\n{csrf}\r\n--x--\r\n",
    b'--x\r\nContent-Disposition: form-data; name="csrf"\r\nContent-Transfer-Encoding: mad\r\n\r\n{csrf}\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="csrf"\r\nContent-Length: -7\r\n\r\n{csrf}\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{csrf}\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{csrf}\r\n'
    b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\nz\r\n--y--\r\n--x--\r\n",
]


@pytest.mark.parametrize("body", BROKEN_FORMS, ids=range(len(BROKEN_FORMS)))
def test_an_upload_that_is_no_form_reaches_no_engine(admin: WebBrowser, fake: FakeEngine, body: bytes) -> None:
    text = body.decode().replace("{csrf}", admin.csrf)
    headers = {"Origin": admin.origin, "Content-Type": "multipart/form-data; boundary=x"}
    answer = admin.request("POST", f"/containers/{ID}/files?path=/", headers, text)
    assert answer.status in (400, 403)
    assert not [one for one in fake.requests() if one.method != "GET"]


def test_a_form_that_does_not_end_is_refused(served: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darse.web.server._FORM_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        host = f"127.0.0.1:{served.port}"
        head = f"POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: 20\r\n"
        head += "Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken="
        connection.sendall(head.encode())
        assert connection.recv(100).split()[1] == b"408"


def test_more_connections_than_there_is_room_for_are_refused(
    served: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "most_connections", 3)
    with contextlib.ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(socket.create_connection(("127.0.0.1", served.port)))
        last = opened.enter_context(socket.create_connection(("127.0.0.1", served.port)))
        last.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert last.recv(1) == b""

    def has_room() -> bool:
        try:
            return WebBrowser(served.port).get("/login").status == 200
        except (OSError, http.client.HTTPException):
            return False

    wait_until(has_room, what="room")


def test_requests_are_limited(served: WebServer, admin: WebBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.dashboard, "requests", RateLimit(rate=0.001, burst=5))
    assert [admin.get("/usage/history").status for _ in range(7)] == [200] * 5 + [429] * 2
    monkeypatch.setattr(served.dashboard, "anonymous", RateLimit(rate=0.001, burst=2))
    assert [WebBrowser(served.port).get("/login").status for _ in range(3)] == [200, 200, 429]


def test_changes_are_limited_more(served: WebServer, admin: WebBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.dashboard, "changes", RateLimit(rate=0.001, burst=2))
    assert [admin.post(f"/containers/{ID}/stop").status for _ in range(3)] == [303, 303, 429]
    assert admin.get("/usage/history").status == 200


# Names


HOSTILE = [
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7*7 }}",
    "{% include '/etc/passwd' %}",
    "${7*7}",
    "&lt;b&gt;&amp;",
    "<!-- ",
    "]]><svg onload=alert(1)>",
    "\u202eevil\u202c",
    "\u2066\u2067rtl\u2069",
    "\u05d0\u05d1\u05d2 \u0627\u0644",
    "a\u0000b",
    "\ufeff\u200b",
    "%3Cscript%3E",
    "+ADw-script+AD4-",
    "\\x3cscript\\x3e",
    "x" * 65536,
]


def inspected(**members: Any) -> dict[str, Any]:
    """A container as an inspect shows it."""
    state = {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": 1,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-01-02T03:04:05Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    return {
        "Id": ID, "Created": "2026-01-02T03:04:05Z", "Path": "sh", "Args": [], "State": state, "Image": f"sha256:{ID}",
        "ResolvConfPath": "", "HostnamePath": "", "HostsPath": "", "LogPath": "", "Name": "/one", "RestartCount": 0,
        "Driver": "overlay2", "Platform": "linux", "HostConfig": {}, "GraphDriver": {"Data": None, "Name": "overlay2"},
        "Mounts": [], "Config": {"Image": "busybox", "Labels": {}, "Env": []},
        "NetworkSettings": {"Networks": {}}, **members,
    }  # fmt: skip


def summary(**members: Any) -> dict[str, Any]:
    """A container as a list shows it."""
    return {
        "Id": ID, "Names": ["/one"], "Image": "busybox", "ImageID": f"sha256:{ID}", "Command": "sh", "Created": 1,
        "Ports": [], "Labels": {}, "State": "running", "Status": "Up", "HostConfig": {},
        "NetworkSettings": {"Networks": {}}, "Mounts": [], **members,
    }  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_text(admin: WebBrowser, fake: FakeEngine, name: str) -> None:
    labels = {name: name, "com.docker.compose.project": name, "com.docker.compose.service": name}
    fake.answers["GET", "/containers/json"] = [
        summary(Names=[f"/{name}"], Image=name, Command=name, Status=name, State=name, Labels=labels)
    ]
    fake.answers["GET", f"/containers/{ID}/json"] = inspected(
        Name=f"/{name}", Path=name, Config={"Image": name, "Labels": labels, "Env": [f"A={name}"]}
    )
    fake.answers["GET", f"/containers/{ID}/top"] = {"Titles": ["CMD"], "Processes": [[name]]}
    fake.answers["GET", f"/containers/{ID}/logs"] = f"2026-01-02T03:04:05.0Z {name}\n".encode()
    pages = [
        "/containers",
        f"/containers/{ID}",
        *(f"/containers/{ID}/{one}" for one in ("inspect", "processes", "logs")),
        "/projects",
    ]
    for path in pages:
        answer = admin.get(path)
        assert answer.status == 200, (path, answer.text[-500:])
        assert_no_markup_of(answer.text, name)
    if len(name) < 1000 and "\0" not in name:
        assert name in admin.get("/containers").words
        assert name.rstrip() in admin.get(f"/containers/{ID}/logs").words


def assert_no_markup_of(page: str, name: str) -> None:
    """None of the tags or attributes that a name has is one of the page's."""
    assert "<script>" not in page
    assert not re.search(r"<(img|svg)[^>]*(onerror|onload)", page)
    assert not re.search(r"<[a-z][^>]*\s(onmouseover|onerror|onload)=", page)
    assert 'href="javascript:' not in page
    assert len(page) < 1_000_000


def test_a_picture_of_networks_has_names_as_text(admin: WebBrowser, fake: FakeEngine) -> None:
    network = {
        "Name": HOSTILE[0],
        "Id": ID,
        "Created": "",
        "Driver": HOSTILE[2],
        "IPAM": {"Driver": "", "Options": None, "Config": []},
        "Options": {},
        "Labels": {},
    }
    fake.answers["GET", "/networks"] = [network]
    answer = admin.get("/networks.svg")
    assert answer.status == 200
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_logs_have_no_control_characters(admin: WebBrowser, fake: FakeEngine) -> None:
    fake.answers["GET", f"/containers/{ID}/json"] = inspected()
    fake.answers["GET", f"/containers/{ID}/logs"] = (
        b"2026-01-02T03:04:05.0Z \x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07\x9b2J end\r\n"
    )
    answer = admin.get(f"/containers/{ID}/logs")
    assert "red bell" in answer.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", answer.text.replace("\n", ""))


# Audit


def test_what_is_changed_is_recorded_and_what_is_refused(
    admin: WebBrowser, as_role: AsRole, fake: FakeEngine, served: WebServer
) -> None:
    log = served.dashboard.options.audit_log
    before = log.read_text().count("\n")
    fake.answers["POST", f"/containers/{ID}/stop"] = b""
    admin.post(f"/containers/{ID}/stop")
    admin.post(f"/containers/{ID}/start")
    admin.post(f"/containers/{ID}/stop", {"csrf": "x"})
    as_role(Role.LOOK).post(f"/containers/{ID}/stop")
    admin.get("/containers")
    records = read_records(log, before + 4)[before:]
    assert [(one["user"], one["action"], one["outcome"]) for one in records] == [
        ("administrate", "/containers/{id}/stop", "done"),
        ("administrate", "/containers/{id}/start", f"engine: 404 No such object: /containers/{ID}/start"),
        ("administrate", "/containers/{id}/stop", "refused: 403 token"),
        ("look", "/containers/{id}/stop", "refused: 403 role"),
    ]
    assert {one["objects"]["id"] for one in records} == {ID}
    assert {one["address"] for one in records} == {"127.0.0.1"}


def test_the_engine_is_told_who_asks(admin: WebBrowser, fake: FakeEngine) -> None:
    fake.answers["POST", f"/containers/{ID}/stop"] = b""
    fake.requests()
    admin.post(f"/containers/{ID}/stop")
    stop = next(one for one in fake.requests() if one.method == "POST")
    assert stop.headers["darse-user"] == "administrate"


def read_records(path: Path, count: int) -> list[dict[str, Any]]:
    """The records of a log, when there are so many."""
    from tests.support.waiting import wait_until

    wait_until(lambda: path.read_text().count("\n") >= count, what="the records")
    return [json.loads(line) for line in path.read_text().splitlines()]
