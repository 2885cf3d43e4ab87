"""Containers find each other by name: on user-defined networks, while they come and go, and with no engine at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.dnspython import dns
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.island import Island
from tests.support.waiting import wait_until
from tests.system.networks.support import inside as inside_of

from darse.linux.net.netns import NetnsThread

SLEEP = (BUSYBOX, "sleep", "1000")


@pytest.fixture
def docker(engine: Engine) -> Client:
    return engine.docker


@pytest.fixture
def shop(docker: Client) -> Client:
    """Networks `front` and `back`, `web` on both, `store` on `back` with an alias, `proxy` on `front`."""
    for network in ("front", "back"):
        docker("network", "create", network).ok()
    run(docker, "web", "--network", "front")
    docker("network", "connect", "--alias", "site", "back", "web").ok()
    run(docker, "store", "--network", "back", "--network-alias", "keeper", "--hostname", "store-host")
    run(docker, "proxy", "--network", "front")
    return docker


def run(docker: Client, name: str, *options: str) -> str:
    """Start a container that sleeps; return its id."""
    return docker("run", "-d", "--name", name, *options, *SLEEP).ok().line


def address(docker: Client, name: str, network: str) -> str:
    """A container's address on a network."""
    return (
        docker(
            "inspect", "-f", f"{{{{(index .NetworkSettings.Networks {network!r}).IPAddress}}}}".replace("'", '"'), name
        )
        .ok()
        .line
    )


def inside(engine: Engine, name: str, function: Callable[[], Any]) -> Any:
    """Call a function in a container's network namespace."""
    threads = NetnsThread()
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", name).ok().line

    def work() -> Any:
        netns = threads.enter(f"/proc/{pid}/ns/net")
        try:
            return threads.inside(netns, function)
        finally:
            netns.close()

    try:
        return asyncio.run(threads.run(work))
    finally:
        threads.close()


class Asker:
    """dnspython in a container: one socket to its name server."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._socket = inside(engine, name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.settimeout(15)
        self._socket.connect(("127.0.0.11", 53))

    def settle(self, seconds: float = 2) -> None:
        """Forget answers that nobody waited for; wait no longer for others than so many seconds."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(4096):
                pass
        self._socket.settimeout(seconds)

    def send(self, name: str, type_: str = "A") -> Any:
        query = dns.message.make_query(name, type_)
        self._socket.send(query.to_wire())
        return query

    def ask(self, name: str, type_: str = "A") -> Any:
        query = self.send(name, type_)
        while True:
            answer = dns.message.from_wire(self._socket.recv(4096))
            if answer.id == query.id:
                return answer

    def addresses(self, name: str, type_: str = "A") -> list[str]:
        return sorted(str(one) for found in self.ask(name, type_).answer for one in found)

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def name_servers(engine: Engine) -> list[int]:
    """The pids of the engine's name server, supervisor first."""
    control = str(engine.exec_root / "names" / "control")
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and control in Path(f"/proc/{entry}/cmdline").read_text().split("\0"):
                found.append(int(entry))
    return sorted(found)


def test_names_aliases_host_names_and_ids(shop: Client, engine: Engine) -> None:
    web, store = address(shop, "web", "back"), address(shop, "store", "back")
    short = shop("inspect", "-f", "{{.Id}}", "store").ok().line[:12]
    with Asker(engine, "web") as asker:
        for name in ("store", "keeper", "store-host", short, "store.back", "KEEPER."):
            assert asker.addresses(name) == [store], name
        assert asker.addresses("proxy") == [address(shop, "proxy", "front")]
        assert asker.addresses("store", "AAAA") == []
        assert asker.ask("store", "AAAA").rcode() == dns.rcode.NOERROR
        reverse = ".".join(reversed(store.split("."))) + ".in-addr.arpa"
        assert asker.addresses(reverse, "PTR") == ["store.back."]
    with Asker(engine, "store") as asker:
        assert asker.addresses("site") == asker.addresses("web") == [web]
    with Asker(engine, "proxy") as asker:
        assert asker.addresses("web") == [address(shop, "web", "front")]
        for hidden in ("site", "store", "web.back"):
            assert asker.addresses(hidden) == []
    assert shop("exec", "web", "ping", "-c", "1", "keeper").ok()


def test_one_alias_of_several_containers(docker: Client, engine: Engine) -> None:
    docker("network", "create", "front").ok()
    for number in range(3):
        run(docker, f"web{number}", "--network", "front", "--network-alias", "web")
    everyone = sorted(address(docker, f"web{number}", "front") for number in range(3))
    with Asker(engine, "web0") as asker:
        assert asker.addresses("web") == everyone
        docker("rm", "-f", "web2").ok()
        assert len(asker.addresses("web")) == 2


def test_changes_are_seen_when_the_command_returns(shop: Client, engine: Engine) -> None:
    with Asker(engine, "web") as asker:
        for turn in range(3):
            shop("stop", "-t", "0", "store").ok()
            assert asker.addresses("store") == []
            shop("start", "store").ok()
            assert asker.addresses("keeper") == [address(shop, "store", "back")]
            shop("rename", "store", f"store{turn}").ok()
            assert asker.addresses(f"store{turn}") == [address(shop, f"store{turn}", "back")]
            assert asker.addresses("store") == []
            shop("rename", f"store{turn}", "store").ok()
            shop("network", "connect", "--alias", "late", "back", "proxy").ok()
            assert asker.addresses("late") == [address(shop, "proxy", "back")]
            shop("network", "disconnect", "back", "proxy").ok()
            assert asker.addresses("late") == []


def test_links_on_a_network_of_ones_own(shop: Client, engine: Engine) -> None:
    run(shop, "app", "--network", "back", "--link", "store:db", "--link", "later:cache")
    store = address(shop, "store", "back")
    with Asker(engine, "app") as asker, Asker(engine, "web") as other:
        assert asker.addresses("db") == [store]
        assert other.addresses("db") == []
        assert asker.addresses("cache") == []
        run(shop, "later", "--network", "back")
        assert asker.addresses("cache") == [address(shop, "later", "back")]
        shop("rename", "store", "warehouse").ok()
        assert asker.addresses("db") == [store]
    assert "db" not in shop("exec", "app", "cat", "/etc/hosts").ok().out.split()
    shop("network", "connect", "--link", "web:www", "front", "app").ok()
    with Asker(engine, "app") as asker:
        assert address(shop, "web", "front") in asker.addresses("www")


def test_the_default_bridge_has_no_names_until_another_network_comes(shop: Client, engine: Engine) -> None:
    run(shop, "plain")
    assert "127.0.0.11" not in shop("exec", "plain", "cat", "/etc/resolv.conf").ok().out
    shop("network", "connect", "back", "plain").ok()
    assert "nameserver 127.0.0.11" in shop("exec", "plain", "cat", "/etc/resolv.conf").ok().out
    assert shop("exec", "plain", "ping", "-c", "3", "keeper").ok()
    with Asker(engine, "web") as asker:
        assert asker.addresses("plain") == [address(shop, "plain", "back")]


def test_resolv_conf_and_hosts(docker: Client) -> None:
    docker("network", "create", "front").ok()
    docker("network", "create", "back").ok()
    options = ("--dns", "192.0.2.1", "--dns-search", "example.org", "--dns-option", "timeout:1")
    run(docker, "web", "--network", "front", *options)
    lines = docker("exec", "web", "cat", "/etc/resolv.conf").ok().out.splitlines()
    assert "nameserver 127.0.0.11" in lines
    assert "search example.org" in lines
    assert "options timeout:1 ndots:0" in lines
    assert "# ExtServers: [192.0.2.1]" in lines
    own = docker("exec", "web", "hostname").ok().line
    docker("exec", "web", "sh", "-c", "echo 192.0.2.9 mine >> /etc/hosts; echo '# mine' >> /etc/resolv.conf").ok()
    docker("network", "connect", "back", "web").ok()
    back = address(docker, "web", "back")
    hosts = docker("exec", "web", "cat", "/etc/hosts").ok().out
    assert f"{back}\t{own}\n" in hosts
    assert "192.0.2.9 mine\n" in hosts
    docker("network", "disconnect", "back", "web").ok()
    hosts = docker("exec", "web", "cat", "/etc/hosts").ok().out
    assert back not in hosts
    assert "192.0.2.9 mine\n" in hosts
    docker("restart", "-t", "0", "web").ok()
    assert "# mine" in docker("exec", "web", "cat", "/etc/resolv.conf").ok().out


def serve(engine: Engine, container: str, place: tuple[str, int], asked: list[tuple[str, str]]) -> socket.socket:
    """A server in a container's namespace that answers every query with 192.0.2.42, and notes who asks what."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(place)
        return sock

    sock: socket.socket = inside(engine, container, make)

    def answer() -> None:
        while True:
            try:
                data, client = sock.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            query = dns.message.from_wire(data)
            asked.append((client[0], str(query.question[0].name)))
            reply = dns.message.make_response(query)
            if query.question[0].rdtype == dns.rdatatype.A:
                reply.answer.append(dns.rrset.from_text(query.question[0].name, 9, "IN", "A", "192.0.2.42"))
            sock.sendto(reply.to_wire(), client)

    threading.Thread(target=answer, daemon=True).start()
    return sock


def test_the_containers_own_servers_are_asked_from_its_namespace(docker: Client, engine: Engine) -> None:
    docker("network", "create", "--internal", "front").ok()
    run(docker, "server", "--network", "front")
    place = address(docker, "server", "front")
    asked: list[tuple[str, str]] = []
    sock = serve(engine, "server", (place, 53), asked)
    try:
        run(docker, "web", "--network", "front", "--dns", "192.0.2.53", "--dns", place)
        with Asker(engine, "web") as asker:
            assert asker.addresses("www.example.com") == ["192.0.2.42"]
            assert asker.addresses("server") == [place]
        assert asked == [(address(docker, "web", "front"), "www.example.com.")]
    finally:
        sock.close()


def links() -> set[str]:
    """The indexes of the host's links."""
    listed = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return {line.partition(":")[0] for line in listed.splitlines()}


class Sniffer:
    """All packets of the host, and which of them have a text."""

    def __init__(self, text: bytes) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.settimeout(0.2)
        self._text = text

    def found(self) -> int:
        """How many packets since the last call have it."""
        count = 0
        with contextlib.suppress(TimeoutError):
            while True:
                count += self._text in self._socket.recv(65535)
        return count

    def close(self) -> None:
        self._socket.close()


def test_no_query_of_an_internal_network_leaves(docker: Client, engine: Engine) -> None:
    docker("network", "create", "--internal", "inner").ok()
    docker("network", "create", "outer").ok()
    run(docker, "web", "--network", "inner")
    run(docker, "store", "--network", "inner")
    run(docker, "open", "--network", "outer")
    sniffer = Sniffer(b"leaktest")
    try:
        with Asker(engine, "web") as asker:
            assert asker.addresses("store") == [address(docker, "store", "inner")]
            for type_ in ("A", "AAAA", "MX", "TXT", "HTTPS"):
                assert asker.ask("www.leaktest.example", type_).rcode() == dns.rcode.SERVFAIL
        assert sniffer.found() == 0
        with Asker(engine, "open") as asker:
            asker.send("www.leaktest.example")
            wait_until(lambda: sniffer.found() > 0, what="a query of an open network")
        # With another network that leads out, it may ask.
        docker("network", "connect", "outer", "web").ok()
        with Asker(engine, "web") as asker:
            asker.send("www.leaktest.example")
            wait_until(lambda: sniffer.found() > 0, what="a query")
    finally:
        sniffer.close()


def test_a_container_that_is_a_name_server_itself(docker: Client, engine: Engine) -> None:
    docker("network", "create", "front").ok()
    run(docker, "web", "--network", "front")
    run(docker, "server", "--network", "front")
    asked: list[tuple[str, str]] = []
    sock = serve(engine, "server", ("0.0.0.0", 53), asked)
    try:
        with Asker(engine, "server") as asker:
            assert asker.addresses("web") == [address(docker, "web", "front")]
        assert asked == []
        listed = docker("exec", "web", "nslookup", "anything.example", address(docker, "server", "front"))
        assert "192.0.2.42" in listed.out
    finally:
        sock.close()


def test_names_without_an_engine_and_with_the_next_one(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    docker = engine.docker
    docker("network", "create", "front").ok()
    run(docker, "web", "--network", "front")
    run(docker, "store", "--network", "front")
    store = address(docker, "store", "front")
    with Asker(engine, "web") as asker:
        before = name_servers(engine)
        assert len(before) == 2
        engine.kill9()
        assert asker.addresses("store") == [store]
        os.kill(before[1], signal.SIGKILL)
        begin = time.monotonic()
        assert asker.addresses("store") == [store]
        assert time.monotonic() - begin < 1
        engine.restart()
        assert asker.addresses("store") == [store]
        run(docker, "late", "--network", "front")
        assert asker.addresses("late") == [address(docker, "late", "front")]
        assert before[0] in name_servers(engine)
        for pid in name_servers(engine):
            os.kill(pid, signal.SIGKILL)
        run(docker, "later", "--network", "front")
        assert asker.addresses("later") == [address(docker, "later", "front")]
        assert asker.addresses("store") == [store]
    docker("rm", "-f", "web", "store", "late", "later").ok()
    docker("network", "rm", "front").ok()


def test_the_last_process_gone_without_an_engine_takes_its_namespace(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    docker = engine.docker
    docker("network", "create", "front").ok()
    run(docker, "web", "--network", "front")
    run(docker, "store", "--network", "front")
    pid = int(docker("inspect", "-f", "{{.State.Pid}}", "store").ok().line)
    link = docker("exec", "store", "cat", "/sys/class/net/eth0/iflink").ok().line
    assert link in links()
    with Asker(engine, "web") as asker:
        engine.kill9()
        os.kill(pid, signal.SIGKILL)
        begin = time.monotonic()
        wait_until(lambda: link not in links(), 10, what="the end of the link")
        print(f"the link was gone after {time.monotonic() - begin:.2f} s")
        assert asker.addresses("store") == []
    engine.restart()
    docker("rm", "-f", "web", "store").ok()
    docker("network", "rm", "front").ok()


def test_explained_lookups(shop: Client, engine: Engine) -> None:
    darse = engine.darse
    explained = darse("explain", "dns", "keeper", "--from", "web").ok().out
    assert "a name on network back" in explained
    assert address(shop, "store", "back") in explained
    assert "known, without such an address" in explained
    run(shop, "app", "--network", "back", "--link", "store:db")
    assert "a link to" in darse("explain", "dns", "db", "--from", "app").ok().out
    assert "/etc/hosts has it: 127.0.0.1" in darse("explain", "dns", "localhost", "--from", "app").ok().out
    run(shop, "plain")
    assert "on no user-defined network" in darse("explain", "dns", "store", "--from", "plain").ok().out
    shop("network", "create", "--internal", "inner").ok()
    run(shop, "hidden", "--network", "inner")
    explained = darse("explain", "dns", "www.example.com", "--from", "hidden").ok().out
    assert "all networks are internal" in explained
    assert darse("explain", "dns", "store").status == 125
    assert darse("explain", "web", "--from", "app").status == 125


@pytest.mark.heavy
def test_a_hundred_containers_find_each_other_at_once(new_engine: Callable[..., Engine]) -> None:
    """Sixteen starts at a time on ten networks: each one resolves and reaches all of its network when it is there."""
    engine = new_engine()
    docker = engine.docker
    for number in range(10):
        docker("network", "create", f"net{number}").ok()

    def start(number: int) -> None:
        run(docker, f"box{number}", "--network", f"net{number % 10}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(start, range(100)))
    checks = [(one, other) for one in range(100) for other in range(one % 10, 100, 10)]

    def check(group: int) -> list[str]:
        failed = []
        for one in range(group, 100, 10):
            names = [f"box{other}" for other in range(group, 100, 10)]
            script = "; ".join(f"ping -c 1 -W 2 {name} >/dev/null || echo {name}" for name in names)
            failed += [
                f"box{one} -> {name}" for name in docker("exec", f"box{one}", "sh", "-c", script).ok().out.split()
            ]
        return failed

    with ThreadPoolExecutor(4) as pool:
        assert [one for failed in pool.map(check, range(10)) for one in failed] == []
    assert len(checks) == 1000
    engine.remove_all()


def test_the_hosts_servers_are_followed(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    """An engine with an /etc of its own, whose resolv.conf is replaced, linked elsewhere, emptied and written again."""
    etc = tmp_path / "etc"
    subprocess.run(["cp", "-a", "/etc", etc], check=True)
    servers = [HostServer(f"127.0.53.{number}", f"192.0.2.{number}") for number in (1, 2, 3)]
    first, second, third = (f"nameserver {server.ip}\n" for server in servers)
    (etc / "resolv.conf").unlink()
    (etc / "resolv.conf").write_text(first)
    within = ("unshare", "--mount", "sh", "-c", f'mount --bind "{etc}" /etc && exec "$@"', "sh")
    engine = new_engine(within=within)
    try:
        engine.docker("network", "create", "front").ok()
        run(engine.docker, "web", "--network", "front")
        with Asker(engine, "web") as asker:

            def follows(expected: list[str]) -> None:
                wait_until(lambda: asker.addresses("example.org") == expected, 1.5, f"answers {expected}")

            follows(["192.0.2.1"])
            (etc / "new").write_text(second)
            (etc / "new").rename(etc / "resolv.conf")
            follows(["192.0.2.2"])
            (etc / "stub").mkdir()
            (etc / "stub" / "resolv.conf").write_text(third)
            (etc / "link").symlink_to("stub/resolv.conf")
            (etc / "link").rename(etc / "resolv.conf")
            follows(["192.0.2.3"])
            (etc / "stub" / "resolv.conf").write_text(first)
            follows(["192.0.2.1"])
            (etc / "stub" / "resolv.conf").write_text("")
            follows([])
            (etc / "stub" / "resolv.conf").write_text(second)
            follows(["192.0.2.2"])
    finally:
        for server in servers:
            server.close()


def test_a_server_on_the_hosts_loopback_is_asked_whoever_is_killed(
    new_engine: Callable[..., Engine], island: Island, tmp_path: Path
) -> None:
    """As with systemd-resolved: the host's resolv.conf has 127.0.0.53 alone."""
    etc = tmp_path / "etc"
    subprocess.run(["cp", "-a", "/etc", etc], check=True)
    (etc / "resolv.conf").unlink()
    (etc / "resolv.conf").write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n")
    within = (*island.within, "unshare", "--mount", "sh", "-c", f'mount --bind "{etc}" /etc && exec "$@"', "sh")
    server = HostServer("127.0.0.53", "192.0.2.53", island.path)
    engine = new_engine(within=within)
    try:
        engine.docker("network", "create", "front").ok()
        run(engine.docker, "web", "--network", "front")
        run(engine.docker, "store", "--network", "front")
        store = address(engine.docker, "store", "front")
        with Asker(engine, "web") as asker:

            def answers() -> bool:
                asker.settle()
                with contextlib.suppress(TimeoutError):
                    return asker.addresses("example.org") == ["192.0.2.53"] and asker.addresses("store") == [store]
                return False

            wait_until(answers, 5, "answers")
            engine.kill9()
            assert answers()
            # The supervisor alone has the sockets of containers; another worker is there when one is missed.
            os.kill(name_servers(engine)[1], signal.SIGKILL)
            wait_until(answers, 5, "answers of another worker")
            engine.up()
            wait_until(answers, 5, "answers")
    finally:
        server.close()


class HostServer:
    """A name server of the host, or of the namespace `path`, on its loopback; all names have the address `answer`."""

    def __init__(self, ip: str, answer: str, path: str = "/proc/self/ns/net") -> None:
        self.ip = ip
        self._answer = answer
        self._socket = inside_of(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.bind((ip, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                packet, peer = self._socket.recvfrom(4096)
                if peer is None:  # shut down
                    return
                answer = dns.message.make_response(dns.message.from_wire(packet))
                answer.answer.append(dns.rrset.from_text(answer.question[0].name, 60, "IN", "A", self._answer))
                self._socket.sendto(answer.to_wire(), peer)

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
