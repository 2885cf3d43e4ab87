"""`generate compose`: a file from containers."""

from __future__ import annotations

from typing import Any

import pytest

from darse.cli.commands.generate import compose_file
from darse.cli.errors import CliError

_IMAGE = {"Env": ["PATH=/bin"], "Cmd": ["nginx"], "Entrypoint": None, "Labels": None}


def container(name: str, config: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "Id": name[0] * 64,
        "Name": f"/{name}",
        "Image": "sha256:1",
        "Config": {
            "Image": "nginx",
            "Cmd": ["nginx"],
            "Env": ["PATH=/bin"],
            "Hostname": name[0] * 12,
            **(config or {}),
        },
        "HostConfig": {"NetworkMode": "default", "RestartPolicy": {"Name": "no"}, **more.pop("HostConfig", {})},
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [],
        **more,
    }


def test_a_container_of_defaults() -> None:
    assert compose_file([container("web")], {"sha256:1": _IMAGE}) == {
        "services": {"web": {"image": "nginx", "container_name": "web", "network_mode": "bridge"}}
    }


def test_everything_that_was_asked_for() -> None:
    web = container(
        "web",
        {"Env": ["PATH=/bin", "PRICE=1$"], "Cmd": ["sh", "-c", "echo $HOME"], "Labels": {"a": "b"}, "User": "1000"},
        HostConfig={
            "NetworkMode": "front",
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "53/udp": [{"HostPort": "53"}]},
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "Memory": 1 << 20,
            "NanoCpus": 500_000_000,
        },
        NetworkSettings={"Networks": {"front": {"Aliases": ["wwwwwwwwwwww", "www"], "IPAMConfig": None}}},
        Mounts=[
            {"Type": "volume", "Name": "data", "Destination": "/data", "RW": False},
            {"Type": "volume", "Name": "a" * 64, "Destination": "/anonymous", "RW": True},
            {"Type": "bind", "Source": "/etc/x", "Destination": "/x", "RW": True},
        ],
    )
    sidecar = container("side", HostConfig={"NetworkMode": f"container:{'w' * 64}"})
    found = compose_file([web, sidecar], {"sha256:1": _IMAGE}, "shop")
    assert found["name"] == "shop"
    assert found["networks"] == {"front": {"external": True}}
    assert found["volumes"] == {"data": {"external": True}}
    assert found["services"]["side"]["network_mode"] == "service:web"
    assert found["services"]["web"] == {
        "image": "nginx",
        "container_name": "web",
        "command": ["sh", "-c", "echo $$HOME"],
        "user": "1000",
        "environment": {"PRICE": "1$$"},
        "labels": {"a": "b"},
        "mem_limit": 1 << 20,
        "restart": "on-failure:3",
        "cpus": 0.5,
        "networks": {"front": {"aliases": ["www"]}},
        "ports": ["127.0.0.1:8080:80", "53:53/udp"],
        "volumes": [
            {"type": "volume", "target": "/data", "source": "data", "read_only": True},
            {"type": "volume", "target": "/anonymous"},
            {"type": "bind", "target": "/x", "source": "/etc/x"},
        ],
    }


def test_two_of_one_service() -> None:
    labels = {"Labels": {"com.docker.compose.service": "web"}}
    with pytest.raises(CliError, match="two containers would be service web"):
        compose_file([container("a", labels), container("b", labels)], {"sha256:1": _IMAGE})
