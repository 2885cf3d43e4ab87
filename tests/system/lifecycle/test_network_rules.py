"""Which networks, names and links a container may have: what docker takes and refuses."""

from __future__ import annotations

import pytest
from tests.support.engine import BUSYBOX, Client, Done, Engine

SLEEP = ("sleep", "600")


@pytest.fixture
def docker(engine: Engine) -> Client:
    """docker's command, on the shared engine, with a network `net1`."""
    engine.docker("network", "create", "net1").ok()
    return engine.docker


def run(docker: Client, name: str, *flags: str) -> Done:
    """Have a container that sleeps."""
    return docker("run", "-d", "--init", "--name", name, *flags, BUSYBOX, *SLEEP)


def hosts(docker: Client, name: str) -> list[str]:
    """The lines of a container's /etc/hosts."""
    return docker("exec", name, "cat", "/etc/hosts").ok().out.splitlines()


def test_a_container_joins_one_that_has_joined_another(docker: Client) -> None:
    run(docker, "aa", "-h", "first").ok()
    run(docker, "bb", "--network", "container:aa").ok()
    run(docker, "cc", "--network", "container:bb").ok()
    address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "aa").ok().line
    assert f"inet {address}/" in docker("exec", "cc", "ip", "address").ok().out
    assert hosts(docker, "cc") == hosts(docker, "aa")
    assert docker("exec", "cc", "hostname").ok().line == "first"
    docker("rm", "-f", "aa").ok()
    assert docker("exec", "cc", "cat", "/etc/resolv.conf").status == 0


def test_none_cannot_be_combined(docker: Client) -> None:
    run(docker, "alone", "--network", "none").ok()
    run(docker, "with", "--network", "container:alone").ok()
    run(docker, "open", "--network", "host").ok()
    for container, said in (
        ("open", "container cannot be disconnected from or connected to the host network"),
        ("alone", "container cannot be connected to multiple networks with one of the networks in private (none) mode"),
        ("with", "container sharing network namespace with another container or host cannot be connected to any other"),
    ):
        for state in ("running", "exited"):
            done = docker("network", "connect", "net1", container)
            assert (done.status, said in done.err) == (1, True), (state, done.err)
            docker("stop", "-t", "0", container).ok()


@pytest.mark.parametrize("mode", ["none", "host", "bridge"])
def test_an_address_needs_a_network_of_the_users(docker: Client, mode: str) -> None:
    done = docker("create", "--network", mode, "--ip", "172.17.0.9", BUSYBOX)
    assert done.status == 1
    assert "user specified IP address is supported on user defined networks only" in done.err


def test_aliases_need_a_network_of_the_users(docker: Client, engine: Engine) -> None:
    run(docker, "it", "--network", "net1").ok()
    said = "network-scoped aliases are only supported for user-defined networks"
    done = docker("network", "connect", "--alias", "x", "bridge", "it")
    assert (done.status, said in done.err) == (1, True)
    body = {"Container": "it", "EndpointConfig": {"Aliases": ["x"]}}
    assert engine.api("POST", "/networks/bridge/connect", body).status == 400
    docker("network", "connect", "bridge", "it").ok()


def test_a_removed_network_is_left_by_force(docker: Client) -> None:
    docker("create", "--name", "it", "--network", "net1", BUSYBOX).ok()
    docker("network", "rm", "net1").ok()
    assert docker("network", "disconnect", "net1", "it").status == 1
    docker("network", "disconnect", "-f", "net1", "it").ok()
    assert docker("inspect", "-f", "{{.NetworkSettings.Networks}}", "it").ok().line == "map[]"
    assert docker("network", "disconnect", "-f", "net1", "it").status == 1


@pytest.mark.parametrize("name", ["a b", "@#$%^&*", "über/net"])
def test_any_name_that_is_not_blank(docker: Client, name: str) -> None:
    docker("network", "create", name).ok()
    assert name in docker("network", "ls", "--format", "{{.Name}}").ok().out.splitlines()
    assert docker("network", "inspect", "-f", "{{.Name}}", name).ok().line == name
    run(docker, "it", "--network", name).ok()
    docker("network", "disconnect", name, "it").ok()
    docker("network", "connect", name, "it").ok()
    docker("rm", "-f", "it").ok()
    docker("network", "rm", name).ok()
    assert docker("network", "create", " ").status == 1


def test_on_a_network_of_the_users_a_link_comes_true_later(docker: Client) -> None:
    run(docker, "it", "--network", "net1", "--link", "third:bar").ok()
    run(docker, "third", "--network", "net1").ok()
    docker("exec", "it", "ping", "-c", "1", "bar").ok()
    refused = docker("create", "--link", "nobody:bar", BUSYBOX)
    assert "could not get container for nobody" in refused.err


def test_two_links_of_one_alias(docker: Client) -> None:
    run(docker, "a1").ok()
    run(docker, "a2").ok()
    run(docker, "it", "--link", "a1:up", "--link", "a2:up").ok()
    assert len([line for line in hosts(docker, "it") if "up" in line.split()]) == 2


def test_a_link_on_the_default_bridge_needs_its_target_there(docker: Client) -> None:
    run(docker, "far", "--network", "net1").ok()
    docker("create", "--name", "it", "--link", "far:up", BUSYBOX, *SLEEP).ok()
    done = docker("start", "it")
    assert done.status == 1
    assert "Cannot link to /far, as it does not belong to the default network" in done.err
    docker("network", "connect", "bridge", "far").ok()
    docker("start", "it").ok()
    assert any("up" in line.split() for line in hosts(docker, "it"))


def test_hosts_has_the_whole_name_and_the_short_one(docker: Client) -> None:
    run(docker, "it", "-h", "foobar.example.com").ok()
    assert hosts(docker, "it")[-1].split()[1:] == ["foobar.example.com", "foobar"]
    assert docker("exec", "it", "hostname").ok().line == "foobar.example.com"


def test_a_linked_container_by_the_name_that_it_was_given(docker: Client, engine: Engine) -> None:
    target = run(docker, "db1").ok().line
    run(docker, "app", "--link", "db1:mysql").ok()
    for path in ("/containers/app/mysql/json", "/v1.43/containers/app/mysql/json", "/containers/app/mysql/top"):
        assert engine.api("GET", path).status == 200
    assert engine.api("GET", "/containers/app/mysql/json").json()["Id"] == target
    assert docker("inspect", "-f", "{{.Id}}", "app/mysql").ok().line == target
    assert engine.api("GET", "/containers/app/nobody/json").status == 404
    assert "No such container: app/nobody" in engine.api("GET", "/containers/app/nobody/json").json()["message"]


def test_the_filter_publish_means_ports_of_the_host(docker: Client, engine: Engine) -> None:
    run(docker, "web", "-p", "80").ok()
    port = docker("port", "web", "80").ok().line.rpartition(":")[2].strip()

    def listed(*filters: str) -> bool:
        flags = [word for one in filters for word in ("--filter", one)]
        return docker("ps", "--format", "{{.Names}}", *flags).ok().line == "web"

    assert listed(f"publish={port}")
    assert listed(f"publish={port}/tcp")
    assert not listed("publish=80-81")
    assert not listed(f"publish={port}/udp")
    assert listed("expose=80-81")
    assert not listed(f"expose={port}")


def test_ports_come_with_the_first_network_that_can(docker: Client) -> None:
    docker("network", "create", "--internal", "inner").ok()
    run(docker, "web", "--network", "inner", "-p", "80").ok()
    assert docker("port", "web").ok().out == ""
    docker("network", "connect", "net1", "web").ok()
    port = docker("port", "web", "80").ok().line.splitlines()[0]
    docker("network", "connect", "bridge", "web").ok()
    docker("network", "disconnect", "net1", "web").ok()
    assert docker("port", "web", "80").ok().line.splitlines()[0] == port
    docker("network", "disconnect", "bridge", "web").ok()
    assert docker("port", "web").ok().out == ""


def test_the_container_that_has_a_port_is_named(docker: Client) -> None:
    run(docker, "web", "-p", "80").ok()
    port = docker("port", "web", "80").ok().line.splitlines()[0].rpartition(":")[2]
    docker("rename", "web", "first").ok()
    done = run(docker, "it", "-p", f"{port}:80")
    assert f"Bind for 0.0.0.0:{port} failed: port is already allocated (container first has it)" in done.err
