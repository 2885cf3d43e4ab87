"""Testcontainers for Python, unmodified, without its reaper (its image is not in the catalogue).

.venv/bin/pip install testcontainers
"""

from __future__ import annotations

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
