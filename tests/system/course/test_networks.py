"""A Docker course's chapter on networks: its commands as they stand there, with `docker` and with `darse`.

The engine's host is a network namespace, whose eth0 leads to another: the LAN, with the gateways that the course names.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.hub import Hub
from tests.support.island import Island
from tests.support.waiting import wait_until
from tests.system.networks.kernel import NEEDS_MACVLAN
from tests.system.networks.support import Echo, ask, inside

GATEWAYS = ("192.168.1.1", "10.78.62.1", "172.31.255.1")
ON_THE_LAN = "172.31.255.2"


@pytest.fixture(scope="module")
def lan() -> Iterator[Island]:
    """The other machines of the LAN."""
    lan = Island()
    yield lan
    lan.close()


@pytest.fixture(scope="module")
def island(lan: Island) -> Iterator[Island]:
    """The engine's host: its eth0 leads to the LAN."""
    island = Island()
    island.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(lan.pid))
    island.run("ip", "address", "add", f"{ON_THE_LAN}/24", "dev", "eth0")
    island.run("ip", "link", "set", "eth0", "up")
    for gateway in GATEWAYS:
        lan.run("ip", "address", "add", f"{gateway}/24", "dev", "eth0")
    lan.run("ip", "link", "set", "eth0", "up")
    yield island
    island.close()


@pytest.fixture(scope="module")
def island_engine(island: Island, session_hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine there, with the chapter's images."""
    engine = Engine.start(within=island.within)
    for name in ("nginx:latest", "ubuntu:latest"):
        engine.docker("load", "-q", "-i", str(session_hub.archive(name, tmp_path_factory.mktemp("image")))).ok()
    engine.docker("tag", "ubuntu:latest", "my-ubuntu").ok()
    engine.docker("tag", "nginx:latest", "mon-conteneur-sans-reseau").ok()
    yield engine
    engine.close()


class Course:
    """Types lines of the course, with either command."""

    def __init__(self, cli: Client) -> None:
        self.cli = cli

    def __call__(self, line: str) -> str:
        """What a line prints; it fails when the command does."""
        name, *arguments = shlex.split(line)
        assert name == "docker"
        return self.cli(*arguments).ok().line


@pytest.fixture(params=["docker", "darse"])
def course(request: pytest.FixtureRequest, island_engine: Engine) -> Iterator[Course]:
    yield Course(getattr(island_engine, request.param))
    island_engine.remove_all()


def page(host: Island, address: str) -> str:
    """The page at an address, asked from a host; "" when nobody answers."""

    def connect() -> socket.socket:
        return socket.create_connection((address, 80), 3)

    try:
        with inside(host.path, connect) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: client.recv(4096), b"")).decode()
    except OSError:
        return ""


def welcomes(host: Island, address: str) -> bool:
    """Whether nginx answers there."""
    return "Welcome to nginx!" in page(host, address)


def address_of(course: Course, container: str) -> str:
    """The address of a container on its only network."""
    networks = json.loads(course(f"docker inspect -f '{{{{json .NetworkSettings.Networks}}}}' {container}"))
    (endpoint,) = networks.values()
    return str(endpoint["IPAddress"])


def test_the_default_bridge_and_a_bridge_of_ones_own(course: Course, island: Island) -> None:
    course("docker run -d --name conteneur1 nginx")
    wait_until(lambda: welcomes(island, address_of(course, "conteneur1")), 20, "nginx")
    course("docker rm -f conteneur1")
    course("docker network create mon-reseau-bridge")
    course("docker run -d --network mon-reseau-bridge --name conteneur1 nginx")
    wait_until(lambda: welcomes(island, address_of(course, "conteneur1")), 20, "nginx")


def test_the_hosts_network_and_none(course: Course, island: Island, lan: Island) -> None:
    course("docker run -d --network host nginx")
    wait_until(lambda: welcomes(island, "127.0.0.1"), 20, "nginx")
    assert welcomes(lan, ON_THE_LAN)
    alone = course("docker run -d --network none mon-conteneur-sans-reseau")
    interfaces = course(f"docker exec {alone} ls /sys/class/net").split()
    assert "eth0" not in interfaces
    assert "lo" in interfaces


def test_overlay_networks_need_a_cluster(course: Course) -> None:
    """Until there is one, its commands say so."""
    cli = course.cli
    made = cli(*"network create --driver overlay mon-reseau-overlay".split())
    assert made.status == 1
    assert "This node is not a swarm manager" in made.err
    service = cli(*"service create --network mon-reseau-overlay --name mon-service nginx".split())
    assert service.status == 1
    assert "network mon-reseau-overlay not found" in service.err or "swarm" in service.err


@NEEDS_MACVLAN
def test_macvlan_in_the_foreground(course: Course, island: Island, lan: Island) -> None:
    cli = course.cli
    create = "docker network create -d macvlan --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o parent=eth0"
    course(f"{create} mon-reseau-macvlan")
    running = cli.popen(*"run --network mon-reseau-macvlan --ip 192.168.1.100 nginx".split())
    wait_until(lambda: welcomes(lan, "192.168.1.100"), 30, "nginx")
    assert not welcomes(island, "192.168.1.100")
    container = course("docker ps -q")
    assert address_of(course, container) == "192.168.1.100"
    course(f"docker stop {container}")
    assert running.wait(30) == 0
    running.communicate()
    course(f"docker rm {container}")
    course("docker network rm mon-reseau-macvlan")


@NEEDS_MACVLAN
def test_the_exercise_of_macvlan_and_the_host(course: Course, island: Island, lan: Island) -> None:
    create = "docker network create -d macvlan --subnet=10.78.62.0/24 --gateway=10.78.62.1 -o parent=eth0"
    course(f"{create} my-macvlan-net")
    course("docker run --rm -d -it --network=my-macvlan-net --ip=10.78.62.100 --name nginx-macvlan nginx")
    wait_until(lambda: welcomes(lan, "10.78.62.100"), 30, "nginx")
    assert not welcomes(island, "10.78.62.100")
    island.run(*"ip link add macvlan0 link eth0 type macvlan mode bridge".split())
    island.run(*"ip addr add 10.78.62.99/24 dev macvlan0".split())
    island.run(*"ip link set macvlan0 up".split())
    assert welcomes(island, "10.78.62.100")
    island.run(*"ip link set macvlan0 down".split())
    island.run(*"ip addr del 10.78.62.99/24 dev macvlan0".split())
    island.run(*"ip link delete macvlan0".split())
    course("docker stop nginx-macvlan")
    wait_until(lambda: not course("docker ps -aq"), what="the removal of the container")
    course("docker network rm my-macvlan-net")


def test_the_usual_commands(course: Course) -> None:
    course("docker run -d --name conteneur1 nginx")
    course("docker network create reseau1")
    course("docker network create -d bridge reseau2")
    header, *rows = course("docker network ls").splitlines()
    assert header.split() == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert {tuple(row.split()[1:]) for row in rows} == {
        ("bridge", "bridge", "local"),
        ("host", "host", "local"),
        ("none", "null", "local"),
        ("reseau1", "bridge", "local"),
        ("reseau2", "bridge", "local"),
    }
    course("docker network connect reseau1 conteneur1")
    (seen,) = json.loads(course("docker network inspect reseau1"))
    assert [one["Name"] for one in seen["Containers"].values()] == ["conteneur1"]
    course("docker network disconnect reseau1 conteneur1")
    assert course("docker network rm reseau1") == "reseau1"
    assert course("docker network prune -f").splitlines() == ["Deleted Networks:", "reseau2"]


def test_the_exercise_of_two_containers(course: Course) -> None:
    cli = course.cli
    reaches = lambda one, other: cli("exec", one, "ping", "-c", "1", "-W", "2", other).status == 0  # noqa: E731
    course("docker network create training")
    course("docker run --rm -ti -d --name m1 --net training my-ubuntu bash")
    course("docker run --rm -ti -d --name m2 my-ubuntu bash")
    assert not reaches("m1", "m2")
    course("docker network connect training m2")
    assert reaches("m1", "m2")
    assert reaches("m2", "m1")
    # m3 is on the default bridge, as m2 is: names are known on networks of one's own alone.
    course("docker run --rm -ti -d --name m3 my-ubuntu bash")
    assert not reaches("m3", "m2")
    assert not reaches("m2", "m3")
    assert reaches("m3", course("docker inspect -f '{{.NetworkSettings.IPAddress}}' m2"))


def test_links_go_one_way_and_tell_variables(course: Course) -> None:
    cli = course.cli
    course("docker run -d -e MOT_DE_PASSE=secret --name base nginx")
    course("docker run -ti -d --name client --link base:bd my-ubuntu bash")
    variables = course("docker exec client env").splitlines()
    assert "BD_ENV_MOT_DE_PASSE=secret" in variables
    assert any(re.fullmatch(r"BD_PORT_80_TCP_ADDR=[0-9.]+", one) for one in variables)
    assert cli("exec", "client", "ping", "-c", "1", "bd").status == 0
    assert cli("exec", "base", "getent", "hosts", "client").status != 0


def test_ports_of_udp(course: Course, island: Island, lan: Island) -> None:
    course(f"docker run -d --name udp -p 1234:1234/udp {BUSYBOX} sleep 1000")
    inner = f"/proc/{course('docker inspect -f {{.State.Pid}} udp')}/ns/net"
    server = Echo(inner, 1234, "udp", udp=True)
    try:
        assert ask(lan.path, ON_THE_LAN, 1234, udp=True) == "udp 172.31.255.1"
    finally:
        server.close()


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_database_with_a_port_of_the_host(
    course: Course, island: Island, island_engine: Engine, session_hub: Hub, tmp_path: Path
) -> None:
    session_hub.provide("postgres")
    island_engine.docker("load", "-q", "-i", str(session_hub.archive("postgres:latest", tmp_path))).ok()
    settings = "-e POSTGRES_USER=training -e POSTGRES_PASSWORD=training -e POSTGRES_DB=training"
    course(f"docker run -d {settings} --name mydb -p 6543:5432 postgres")
    environment = {**os.environ, "PGPASSWORD": "training"}
    ask = ("psql", "-U", "training", "-h", "localhost", "-p", "6543", "-d", "training", "-tc", "select 6 * 7")

    def answer() -> str:
        done = subprocess.run(
            [*island.within, *ask], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.strip()

    wait_until(lambda: answer() == "42", 90, "the database")
    # Word for word, with the password that -W asks for.
    words = [*island.within[1:], *"psql -U training -h localhost -p 6543 -W training".split()]
    terminal = pexpect.spawn(island.within[0], words, timeout=30)
    terminal.expect("Password: ")
    terminal.sendline("training")
    terminal.expect("training=#")
    terminal.sendline(r"\q")
    terminal.expect(pexpect.EOF)
    assert "0.0.0.0:6543->5432/tcp" in course("docker ps")
    # From another container: the image of the server has the client, too.
    query = "psql -U training -h base -p 5432 training -tc 'select 6 * 7'"
    assert course(f"docker run --rm -e PGPASSWORD=training --link mydb:base postgres {query}") == "42"
