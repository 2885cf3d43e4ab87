"""Testcontainers for Python, unmodified, without its reaper (its image is not in the catalogue).

.venv/bin/pip install testcontainers redis
"""

from __future__ import annotations

import socket
import struct
import urllib.request

import pytest
from tests.support.hub import Hub

pytest.importorskip("testcontainers", reason="testcontainers is not installed (PyPI)")


@pytest.fixture(autouse=True)
def settings(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from testcontainers.core.config import testcontainers_config

    monkeypatch.setenv("DOCKER_HOST", hub.engine.host)
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)


def test_a_container_with_a_published_port() -> None:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    web = DockerContainer("nginx:alpine").with_exposed_ports(80).waiting_for(HttpWaitStrategy(80))
    with web:
        url = f"http://127.0.0.1:{web.get_exposed_port(80)}/"
        with urllib.request.urlopen(url) as answer:
            assert b"Welcome to nginx!" in answer.read()
        status, said = web.exec(["nginx", "-v"])
        assert (status, said[:14]) == (0, b"nginx version:")


def test_logs_and_networks() -> None:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    ready = LogMessageWaitStrategy("ready for start up")
    with Network() as network:
        web = DockerContainer("nginx").with_network(network).waiting_for(ready)
        client = DockerContainer("nginx").with_network(network).waiting_for(ready)
        with web, client:
            seen = web.get_wrapped_container()
            seen.reload()
            address = seen.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
            status, page = client.exec(["curl", "-fs", f"http://{address}/"])
            assert status == 0
            assert b"Welcome to nginx!" in page


@pytest.mark.heavy
def test_postgres(hub: Hub) -> None:
    """The ready-made container of Testcontainers: a database that answers by its published port."""
    from testcontainers.community.postgres import PostgresContainer

    hub.provide("postgres")
    with PostgresContainer("postgres", username="ada", password="secret", dbname="shop", driver=None) as postgres:
        query = "psql -h 127.0.0.1 -p 5432 -U ada -At -c 'select 6 * 7' shop"
        status, said = postgres.exec(["sh", "-c", f"PGPASSWORD=secret {query}"])
        assert (status, said) == (0, b"42\n")
        host, port = postgres.get_container_host_ip(), int(postgres.get_exposed_port(5432))
        with socket.create_connection((host, port), timeout=10) as connection:
            # SSLRequest of PostgreSQL's protocol: answered with one letter, whether there is TLS.
            connection.sendall(struct.pack("!ii", 8, 80877103))
            assert connection.recv(1) in (b"S", b"N")


@pytest.mark.heavy
def test_redis(hub: Hub) -> None:
    pytest.importorskip("redis", reason="redis, the client, is not installed (PyPI)")
    from testcontainers.community.redis import RedisContainer

    hub.provide("redis")
    with RedisContainer("redis") as redis:
        client = redis.get_client()
        client.set("answer", 42)
        assert client.get("answer") == b"42"
        client.close()
