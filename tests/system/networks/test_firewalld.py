"""A host whose firewall is firewalld, as Fedora's and its kin's are; it is started here, so only where that may be.

What is seen is the same at its start, after reloads, after it was started again and with it stopped: containers reach
out, published ports are reached from outside, and networks stay apart.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until
from tests.system.networks.kernel import NEEDS_IPVLAN
from tests.system.networks.support import Echo, Outside, ask, is_shut

pytestmark = pytest.mark.skipif(
    not os.environ.get("DARSE_TEST_THROWAWAY")
    or not shutil.which("firewall-cmd")
    or not Path("/run/systemd/system").is_dir(),
    reason="no host with firewalld and systemd whose firewall a test may change (make test-guest is one)",
)


def sh(*command: str) -> str:
    """Run a program of the host."""
    done = subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def reload(how: str) -> None:
    """Have firewalld read its configuration again; its client waits a minute at most, a slow host takes longer."""
    done = subprocess.run(("firewall-cmd", how), check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0 or "Did not receive a reply" in done.stderr, done.stderr
    state = ("firewall-cmd", "--state")
    wait_until(lambda: subprocess.run(state, check=False, capture_output=True).returncode == 0, 300, "firewalld")


@pytest.fixture
def firewalld() -> Iterator[None]:
    """firewalld as it is installed, running."""
    sh("systemctl", "start", "firewalld")
    yield
    sh("systemctl", "stop", "firewalld")


class Site:
    """Containers on two networks, one with a port of the host, and another machine."""

    def __init__(self, engine: Engine, outside: Outside) -> None:
        self.engine, self.outside = engine, outside
        engine.docker("network", "create", "net").ok()
        self.web = self.run("web", "-p", "8080:80")
        self.other = self.run("other", "--network", "net")
        self.address = engine.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web").ok().line
        self.servers = [Echo(self.web, 80, "web"), Echo(outside.path, 90, "machine"), Echo(None, 91, "host")]

    def run(self, name: str, *options: str) -> str:
        """Start a container; return the path of its namespace."""
        self.engine.docker("run", "-d", "--name", name, *options, BUSYBOX, "sleep", "1000").ok()
        return f"/proc/{self.engine.docker('inspect', '-f', '{{.State.Pid}}', name).ok().line}/ns/net"

    def answers(self, path: str | None, address: str, port: int) -> bool:
        """Whether somebody answers there."""
        try:
            return bool(ask(path, address, port, seconds=2))
        except OSError:
            return False

    def published(self) -> bool:
        """Whether the published port is reached from the other machine and from the host."""
        return self.answers(self.outside.path, self.outside.host_ip, 8080) and self.answers(None, "127.0.0.1", 8080)

    def reaches_out(self) -> bool:
        """Whether containers of both networks reach the other machine."""
        return self.answers(self.web, self.outside.ip, 90) and self.answers(self.other, self.outside.ip, 90)

    def check(self, seconds: float = 1) -> None:
        """All of it is as without firewalld, within so many seconds."""
        wait_until(self.published, seconds, "the published port")
        wait_until(self.reaches_out, seconds, "containers that reach another machine")
        assert self.answers(self.web, self.outside.host_ip, 91)
        assert is_shut(self.other, self.address, 80)

    def close(self) -> None:
        """End the servers."""
        for server in self.servers:
            server.close()


@pytest.fixture
def site(new_engine: Callable[..., Engine], outside: Outside, firewalld: None) -> Iterator[Site]:
    site = Site(new_engine(), outside)
    yield site
    site.close()


def test_networks_are_as_ever_and_reloads_change_nothing(site: Site) -> None:
    site.check()
    # What the engine asks of firewalld lasts as long as it runs; it keeps it over a reload.
    reload("--reload")
    site.check()
    reload("--complete-reload")
    site.check()
    assert not sh("firewall-cmd", "--permanent", "--zone=trusted", "--list-interfaces").strip()


def test_firewalld_may_be_started_again_and_later(site: Site) -> None:
    site.check()
    sh("systemctl", "restart", "firewalld")
    site.check(5)
    sh("systemctl", "stop", "firewalld")
    site.check()
    sh("systemctl", "start", "firewalld")
    site.check(5)


def test_networks_come_and_go_with_their_interfaces_in_the_zone(site: Site) -> None:
    docker = site.engine.docker
    bridge = f"db{docker('network', 'inspect', '-f', '{{.Id}}', 'net').ok().line[:12]}"
    trusted = ("firewall-cmd", "--zone=trusted", "--list-interfaces")
    assert bridge in sh(*trusted).split()
    docker("rm", "-f", "other").ok()
    docker("network", "rm", "net").ok()
    assert bridge not in sh(*trusted).split()


def test_who_has_put_a_bridge_into_a_zone_keeps_it_there(site: Site) -> None:
    docker = site.engine.docker
    sh("firewall-cmd", "--zone=drop", "--add-interface=mine0")
    docker("network", "create", "-o", "com.docker.network.bridge.name=mine0", "mine").ok()
    assert "mine0" in sh("firewall-cmd", "--zone=drop", "--list-interfaces").split()
    assert "zone" in site.engine.log()
    docker("network", "rm", "mine").ok()


@NEEDS_IPVLAN
@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_the_zone_of_the_parent_holds_for_containers_of_ipvlan_l3s(site: Site, mode: str) -> None:
    """Packets to them pass the host's input chain, as those to the host do; that is what l3s is beside l3."""
    outside, subnet = site.outside, f"10.35.{secrets.randbelow(250)}.0/24"
    options = ("-d", "ipvlan", "-o", f"parent={outside.link}", "-o", f"ipvlan_mode={mode}", "--subnet", subnet)
    site.engine.docker("network", "create", *options, "routed").ok()
    outside.route(subnet)
    path = site.run("inner", "--network", "routed")
    site.servers.append(Echo(path, 80, "inner"))
    address = site.engine.docker("inspect", "-f", "{{.NetworkSettings.Networks.routed.IPAddress}}", "inner").ok().line
    assert site.answers(path, outside.ip, 90)
    assert site.answers(outside.path, address, 80) == (mode == "l3")
    sh("firewall-cmd", "--add-port=80/tcp")
    assert site.answers(outside.path, address, 80)
