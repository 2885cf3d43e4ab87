"""Networks as run knows them: the default bridge, published ports, host, none, another container's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client
from tests.support.waiting import wait_until

HTTPD = "mkdir /w; echo served by $HOSTNAME >/w/index.html; exec httpd -f -p 80 -h /w"
# The host's own Python, as busybox's nc knows tcp only.
HOST_PYTHON = ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", BUSYBOX, "/usr/bin/python3", "-c"]
UDP_ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
while True:
    server.sendto(*server.recvfrom(1000))
"""


def fetch(host: str, port: int, path: str = "/") -> str:
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def served(host: str, port: int) -> str:
    def get() -> str:
        try:
            return fetch(host, port)
        except OSError:
            return ""

    return wait_until(get, what=f"an answer from {host}:{port}")


def address(cli: Client, container: str) -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return cli("inspect", "-f", template, container).ok().line


def host_port(cli: Client, container: str, port: str) -> int:
    return int(cli("port", container, port).ok().out.splitlines()[0].rsplit(":", 1)[1])


def shell(cli: Client, script: str, *options: str) -> str:
    return cli("run", "--rm", *options, BUSYBOX, "sh", "-c", script).ok().line


def own_address() -> str:
    """An address of this host other than loopback."""
    route = subprocess.run(["ip", "-j", "-4", "address"], capture_output=True, check=True).stdout
    for link in json.loads(route):
        if link["ifname"].startswith(("lo", "dz", "dv", "br-", "darse", "docker")):
            continue
        for entry in link["addr_info"]:
            return str(entry["local"])
    pytest.skip("this host has no address but loopback")


@pytest.fixture
def outside() -> Iterator[str]:
    """A network namespace that is another machine to the engine: its name. It reaches this host at 10.99.x.1."""
    name = f"out{os.getpid()}"
    number = os.getpid() % 250
    subnet = f"10.99.{number}"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("address", "add", f"{subnet}.1/24", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "address", "add", f"{subnet}.2/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "route", "add", "default", "via", f"{subnet}.1")
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", f"{name}a"], check=False, capture_output=True)
        ip("netns", "delete", name)


def test_bridge_gives_an_address_and_a_route(cli: Client) -> None:
    out = shell(cli, "ip -4 -o addr show eth0; ip route; cat /sys/class/net/eth0/mtu")
    assert "inet " in out
    assert "default via" in out
    assert out.endswith("1500")


def test_containers_reach_each_other(cli: Client) -> None:
    cli("run", "-d", "--name", "web", BUSYBOX, "sh", "-c", HTTPD).ok()
    target = address(cli, "web")
    script = f"for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://{target}/ && exit; sleep 0.2; done; exit 1"
    assert "served by" in shell(cli, script)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "own"])
def test_published_tcp_port_from_the_host(cli: Client, host: str) -> None:
    host = own_address() if host == "own" else host
    cli("run", "-d", "--name", "web", "-p", "80", BUSYBOX, "sh", "-c", HTTPD).ok()
    assert "served by" in served(host, host_port(cli, "web", "80"))


def test_published_port_from_outside(cli: Client, outside: str) -> None:
    cli("run", "-d", "--name", "web", "-p", "80", BUSYBOX, "sh", "-c", HTTPD).ok()
    port = host_port(cli, "web", "80")
    served("127.0.0.1", port)
    here = subprocess.run(["ip", "-n", outside, "route"], capture_output=True, text=True, check=True).stdout.split()[2]
    get = ["ip", "netns", "exec", outside, "timeout", "5", "/bin/busybox", "wget", "-q", "-O", "-"]
    get.append(f"http://{here}:{port}/")
    assert "served by" in subprocess.run(get, capture_output=True, text=True, check=False).stdout


def test_published_port_of_one_address_only(cli: Client) -> None:
    cli("run", "-d", "--name", "web", "-p", "127.0.0.1::80", BUSYBOX, "sh", "-c", HTTPD).ok()
    port = host_port(cli, "web", "80")
    assert "served by" in served("127.0.0.1", port)
    with pytest.raises(OSError, match=r"refused|timed out"):
        fetch(own_address(), port)


def test_published_port_from_another_container(cli: Client) -> None:
    cli("run", "-d", "--name", "web", "-p", "80", BUSYBOX, "sh", "-c", HTTPD).ok()
    port = host_port(cli, "web", "80")
    served("127.0.0.1", port)
    script = f"timeout 5 wget -q -O - http://$(ip route | awk '/default/ {{print $3}}'):{port}/"
    assert "served by" in shell(cli, script)
    assert "served by" in cli("exec", "web", "sh", "-c", script).ok().out


def test_published_udp_port(cli: Client) -> None:
    cli("run", "-d", "--name", "dns", "-p", "53/udp", *HOST_PYTHON, UDP_ECHO).ok()
    port = host_port(cli, "dns", "53/udp")

    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.3)
            client.connect(("127.0.0.1", port))
            try:
                client.send(b"ping")
                return client.recv(100)
            except OSError:
                return b""

    assert wait_until(ask, what="an answer over udp") == b"ping"


def test_port_range_and_listing(cli: Client) -> None:
    cli("run", "-d", "--name", "ranged", "-p", "80", "-p", "90-92/udp", BUSYBOX, "sleep", "100").ok()
    lines = cli("port", "ranged").ok().out.splitlines()
    assert {line.split(" ")[0] for line in lines} == {"80/tcp", "90/udp", "91/udp", "92/udp"}
    assert "->80/tcp" in cli("ps", "--format", "{{.Ports}}").ok().out


def test_publish_all(cli: Client) -> None:
    cli("run", "-d", "--name", "all", "-P", "--expose", "8000", BUSYBOX, "sleep", "100").ok()
    assert host_port(cli, "all", "8000") > 1024


def test_a_port_can_be_taken_once(cli: Client) -> None:
    cli("run", "-d", "--name", "first", "-p", "80", BUSYBOX, "sleep", "100").ok()
    port = host_port(cli, "first", "80")
    done = cli("run", "-d", "--name", "second", "-p", f"{port}:80", BUSYBOX, "sleep", "100")
    assert done.status == 125
    assert f"Bind for 0.0.0.0:{port} failed: port is already allocated" in done.err
    assert cli("inspect", "-f", "{{.State.Status}}", "second").ok().line == "created"
    cli("rm", "-f", "first").ok()
    cli("start", "second").ok()


def test_a_port_that_the_host_uses(cli: Client) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        done = cli("run", "--rm", "-p", f"{port}:80", BUSYBOX, "true")
    assert done.status == 125
    assert "address already in use" in done.err or "port is already allocated" in done.err


def test_ports_are_free_after_stop(cli: Client) -> None:
    cli("run", "-d", "--name", "web", "-p", "80", BUSYBOX, "sleep", "100").ok()
    port = host_port(cli, "web", "80")
    cli("stop", "-t", "0", "web").ok()
    with socket.create_server(("0.0.0.0", port)):
        pass
    assert cli("port", "web").ok().out == ""


def test_network_host(cli: Client) -> None:
    assert shell(cli, "readlink /proc/self/ns/net", "--network", "host") == str(Path("/proc/self/ns/net").readlink())
    assert shell(cli, "hostname", "--network", "host") == socket.gethostname()


def test_network_none(cli: Client) -> None:
    assert shell(cli, "ls /sys/class/net", "--network", "none").split() == ["lo"]
    assert "127.0.0.1" in shell(cli, "ip addr show lo", "--network", "none")


def test_network_of_another_container(cli: Client) -> None:
    cli("run", "-d", "--name", "web", BUSYBOX, "sh", "-c", HTTPD).ok()
    script = "for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://127.0.0.1/ && exit; sleep 0.2; done; exit 1"
    assert "served by" in shell(cli, script, "--network", "container:web")
    assert shell(cli, "hostname", "--network", "container:web") == cli("exec", "web", "hostname").ok().line
    done = cli("run", "--rm", "--network", "container:web", "-p", "80", BUSYBOX, "true")
    assert done.status == 125
    assert "conflicting options" in done.err


def test_user_defined_network(cli: Client) -> None:
    cli("network", "create", "--subnet", "10.98.76.0/24", "--gateway", "10.98.76.1", "training").ok()
    assert "10.98.76.9/24" in shell(cli, "ip -4 addr show eth0", "--network", "training", "--ip", "10.98.76.9")
    cli("run", "-d", "--name", "m1", "--net", "training", BUSYBOX, "sh", "-c", HTTPD).ok()
    done = cli("network", "rm", "training")
    assert done.status == 1
    assert "has active endpoints" in done.err
    cli("rm", "-f", "m1").ok()
    assert cli("network", "rm", "training").ok().line == "training"


def test_networks_are_apart(cli: Client) -> None:
    cli("network", "create", "apart").ok()
    cli("run", "-d", "--name", "web", "--network", "apart", BUSYBOX, "sh", "-c", HTTPD).ok()
    target = address(cli, "web")
    assert shell(cli, f"timeout 1 wget -q -O - http://{target}/ || echo unreachable") == "unreachable"


def test_network_connect_and_disconnect(cli: Client) -> None:
    cli("network", "create", "second").ok()
    cli("run", "-d", "--name", "both", BUSYBOX, "sleep", "100").ok()
    cli("network", "connect", "second", "both").ok()
    assert cli("exec", "both", "ls", "/sys/class/net").ok().out.split() == ["eth0", "eth1", "lo"]
    cli("network", "disconnect", "second", "both").ok()
    assert cli("exec", "both", "ls", "/sys/class/net").ok().out.split() == ["eth0", "lo"]


def test_network_listing(cli: Client) -> None:
    names = cli("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").ok().out.splitlines()
    assert {"bridge bridge local", "host host local", "none null local"} <= set(names)
    done = cli("network", "rm", "bridge")
    assert done.status == 1
    assert "is a pre-defined network and cannot be removed" in done.err


def test_addresses_are_used_again_and_never_twice(cli: Client) -> None:
    for name in ("a1", "a2", "a3"):
        cli("run", "-d", "--name", name, BUSYBOX, "sleep", "100").ok()
    assert len({address(cli, name) for name in ("a1", "a2", "a3")}) == 3
