"""`--link`: names and variables of another container, one way, kept true."""

from __future__ import annotations

import json

from tests.support.engine import BUSYBOX, Client

SERVICE = ("--expose", "5432", "--expose", "80/udp", "-e", "POSTGRES_USER=training", "-e", "EMPTY=")


def serve(cli: Client, name: str = "db") -> str:
    """Start a container to link to; return its address."""
    cli("run", "-d", "--name", name, *SERVICE, BUSYBOX, "sleep", "1000").ok()
    return address(cli, name)


def address(cli: Client, name: str) -> str:
    return cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name).ok().line


def test_the_name_and_the_variables_of_the_target(cli: Client) -> None:
    there = serve(cli)
    cli("run", "-d", "--name", "web", "--link", "db:my-base", BUSYBOX, "sleep", "1000").ok()
    target_id = cli("inspect", "-f", "{{.Id}}", "db").ok().line
    hosts = cli("exec", "web", "cat", "/etc/hosts").ok().out
    assert f"{there}\tmy-base {target_id[:12]} db\n" in hosts
    expected = {
        f"MY_BASE_PORT=udp://{there}:80",
        f"MY_BASE_PORT_5432_TCP=tcp://{there}:5432",
        f"MY_BASE_PORT_5432_TCP_ADDR={there}",
        "MY_BASE_PORT_5432_TCP_PORT=5432",
        "MY_BASE_PORT_5432_TCP_PROTO=tcp",
        f"MY_BASE_PORT_80_UDP=udp://{there}:80",
        "MY_BASE_NAME=/web/my-base",
        "MY_BASE_ENV_POSTGRES_USER=training",
        "MY_BASE_ENV_EMPTY=",
    }
    assert expected <= set(cli("exec", "web", "env").ok().out.splitlines())
    # PID 1 got them too.
    own = cli("exec", "web", "cat", "/proc/1/environ").ok().raw.split(b"\0")
    assert {one.encode() for one in expected} <= set(own)
    cli("exec", "web", "ping", "-c", "1", "-W", "5", "my-base").ok()


def test_it_goes_one_way(cli: Client) -> None:
    serve(cli)
    cli("run", "-d", "--name", "web", "--link", "db", BUSYBOX, "sleep", "1000").ok()
    assert "web" not in cli("exec", "db", "cat", "/etc/hosts").ok().out
    assert "WEB_" not in cli("exec", "db", "env").ok().out


def test_how_it_is_shown(cli: Client) -> None:
    serve(cli)
    cli("create", "--name", "web", "--link", "db:base", BUSYBOX, "true").ok()
    assert json.loads(cli("inspect", "-f", "{{json .HostConfig.Links}}", "web").ok().out) == ["/db:/web/base"]
    assert cli("ps", "--no-trunc", "--filter", "name=^db$", "--format", "{{.Names}}").ok().line == "db,web/base"
    assert cli("ps", "--filter", "name=^db$", "--format", "{{.Names}}").ok().line == "db"
    cli("rename", "db", "store").ok()
    assert json.loads(cli("inspect", "-f", "{{json .HostConfig.Links}}", "web").ok().out) == ["/store:/web/base"]


def test_a_target_that_does_not_run_and_one_that_does_not_exist(cli: Client) -> None:
    cli("create", "--name", "db", BUSYBOX, "sleep", "1000").ok()
    refused = cli("run", "--name", "web", "--link", "db:base", BUSYBOX, "true")
    assert refused.status == 125
    assert "Cannot link to a non running container: /db AS /web/base" in refused.err
    missing = cli("run", "--link", "nothing:base", BUSYBOX, "true")
    assert missing.status == 125
    assert "could not get container for nothing" in missing.err


def test_the_files_follow_the_target(cli: Client) -> None:
    serve(cli)
    cli("run", "-d", "--name", "web", "--link", "db:base", BUSYBOX, "sleep", "1000").ok()
    cli("stop", "-t", "0", "db").ok()
    cli("run", "-d", "--name", "takes-the-address", BUSYBOX, "sleep", "1000").ok()
    cli("start", "db").ok()
    now = address(cli, "db")
    assert f"{now}\tbase " in cli("exec", "web", "cat", "/etc/hosts").ok().out
    assert f"BASE_PORT_5432_TCP_ADDR={now}" in cli("exec", "web", "env").ok().out


def test_removing_a_link_and_a_target(cli: Client) -> None:
    serve(cli)
    cli("run", "-d", "--name", "web", "--link", "db:base", BUSYBOX, "sleep", "1000").ok()
    gone = cli("rm", "--link", "web/nothing")
    assert gone.status == 1
    cli("rm", "--link", "/web/base").ok()
    assert json.loads(cli("inspect", "-f", "{{json .HostConfig.Links}}", "web").ok().out) is None
    cli("run", "-d", "--name", "other", "--link", "db:base", BUSYBOX, "sleep", "1000").ok()
    cli("rm", "-f", "db").ok()
    assert json.loads(cli("inspect", "-f", "{{json .HostConfig.Links}}", "other").ok().out) is None
    cli("restart", "-t", "0", "other").ok()


def test_with_the_hosts_network_it_is_refused(cli: Client) -> None:
    serve(cli)
    done = cli("run", "--network", "host", "--link", "db", BUSYBOX, "true")
    assert done.status == 125
    assert "host type networking can't be used with links" in done.err


def test_on_a_network_of_ones_own_it_is_a_name(cli: Client) -> None:
    cli("network", "create", "training").ok()
    cli("run", "-d", "--name", "db", "--network", "training", BUSYBOX, "sleep", "1000").ok()
    there = cli("inspect", "-f", "{{.NetworkSettings.Networks.training.IPAddress}}", "db").ok().line
    done = cli("run", "--rm", "--network", "training", "--link", "db:base", BUSYBOX, "sh", "-c", "nslookup base; env")
    assert f"Address: {there}" in done.ok().out
    assert "BASE_" not in done.out
