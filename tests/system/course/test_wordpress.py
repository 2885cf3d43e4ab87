"""A Docker course's application of two containers: WordPress and its database, by hand; and databases by themselves."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from urllib.parse import urlencode

import pytest
from tests.support.engine import Client
from tests.support.hub import Hub
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
DATABASE = (
    "-e MYSQL_ROOT_PASSWORD=somewordpress -e MYSQL_DATABASE=wordpress -e MYSQL_USER=wordpress "
    "-e MYSQL_PASSWORD=wordpress"
)
SITE = "-e WORDPRESS_DB_HOST=db:3306 -e WORDPRESS_DB_USER=wordpress -e WORDPRESS_DB_PASSWORD=wordpress"


@pytest.fixture(autouse=True)
def images(hub: Hub) -> None:
    hub.provide("mariadb", "mysql", "wordpress")
    hub.have("mariadb:latest", "mysql:5.7", "wordpress:latest")


def get(url: str) -> str:
    """A page, or "" while nobody answers with one."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, ConnectionError):
        return ""


def query(cli: Client, container: str, text: str, *, user: str, password: str) -> str:
    """What a database answers to one over TCP, with the client in its container."""
    line = ("mysql", "-h", "127.0.0.1", "-u", user, f"-p{password}", "-N", "-e", text)
    return cli("exec", container, *line).out.strip()


def test_wordpress_and_mysql_by_hand(hub_cli: Client) -> None:
    hub_cli("volume", "create", "db_data").ok()
    database = ("run", "-d", "--name", "db", "--restart", "always", "-v", "db_data:/var/lib/mysql", *DATABASE.split())
    hub_cli(*database, "mysql:5.7").ok()
    ready = lambda: query(hub_cli, "db", "SELECT 6 * 7", user="wordpress", password="wordpress")  # noqa: E731
    wait_until(lambda: ready() == "42", 90, "the database")
    site = ("run", "-d", "--name", "site", "--link", "db", "-p", "127.0.0.1::80", *SITE.split())
    hub_cli(*site, "wordpress:latest").ok()
    address = hub_cli("port", "site", "80").ok().line
    installing = f"http://{address}/wp-admin/install.php"
    wait_until(lambda: "WordPress" in get(installing), 90, "WordPress")
    form = {
        "weblog_title": "A dock",
        "user_name": "ada",
        "admin_password": "Secret-1815",
        "admin_password2": "Secret-1815",
        "admin_email": "ada@dock.example",
        "blog_public": "0",
    }
    with urllib.request.urlopen(f"{installing}?step=2", urlencode(form).encode(), timeout=60) as answer:
        assert "Success!" in answer.read().decode()
    assert "<title>A dock" in get(f"http://{address}/")
    assert "GET /" in hub_cli("logs", "site").ok().out
    # The database is in the volume: another container of it has the site still.
    hub_cli("rm", "-f", "db").ok()
    hub_cli(*database, "mysql:5.7").ok()
    wait_until(lambda: ready() == "42", 90, "the database")
    tables = query(
        hub_cli,
        "db",
        "SELECT option_value FROM wordpress.wp_options WHERE option_name = 'blogname'",
        user="wordpress",
        password="wordpress",
    )
    assert tables == "A dock"


def test_a_database_wants_a_password(hub_cli: Client) -> None:
    failed = hub_cli("run", "-d", "mariadb").ok().line
    assert hub_cli("wait", failed).ok().line == "1"
    assert "Database is uninitialized and password option is not specified" in hub_cli("logs", failed).err


def test_mariadb_from_the_host(hub_cli: Client) -> None:
    """Its port is published, and the server's greeting comes through; a stop ends it in order."""
    hub_cli(
        "run", "-d", "--name", "maria", "-p", "127.0.0.1::3306", "-e", "MARIADB_ROOT_PASSWORD=secret", "mariadb"
    ).ok()
    wait_until(lambda: query(hub_cli, "maria", "SELECT 1", user="root", password="secret") == "1", 90, "the database")
    host, _, port = hub_cli("port", "maria", "3306").ok().line.rpartition(":")
    greeting = subprocess.run(
        ["timeout", "5", "bash", "-c", f"head -c 20 </dev/tcp/{host}/{port}"], capture_output=True, check=True
    ).stdout
    assert b"5.5.5-10" in greeting
    assert query(hub_cli, "maria", "SELECT 1", user="root", password="wrong") == ""
    hub_cli("stop", "maria").ok()
    assert hub_cli("inspect", "-f", "{{.State.ExitCode}}", "maria").ok().line == "0"
