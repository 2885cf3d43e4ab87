"""`commit`: an image of what a container has changed."""

from __future__ import annotations

import json
import time

import pytest
from tests.support.engine import BUSYBOX, Client, Engine


def inspected(cli: Client, image: str) -> dict[str, object]:
    (document,) = json.loads(cli("image", "inspect", image).ok().out)
    return dict(document)


@pytest.mark.parametrize("running", [True, False])
def test_what_a_container_changed_is_in_the_image(cli: Client, running: bool) -> None:
    script = "echo new > /new; rm /etc/group; mkdir /d; ln /new /d/second; chmod 4711 /new; touch /r; exec sleep 1000"
    cli("run", "-d", "--name", "cc", "-v", "vol:/vol", BUSYBOX, "sh", "-c", script).ok()
    cli("exec", "cc", "sh", "-c", "until test -e /r; do :; done; touch /vol/no").ok()
    if not running:
        cli("stop", "-t", "0", "cc").ok()
    made = cli("commit", "-a", "Ada", "-m", "why", "cc", "made/it:1").ok().line
    assert made.startswith("sha256:")
    document = inspected(cli, "made/it:1")
    assert (document["Id"], document["Author"], document["Comment"]) == (made, "Ada", "why")
    base = inspected(cli, BUSYBOX)
    assert document["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]  # type: ignore[index]
    check = "cat /new; ls /vol /etc/group /d; stat -c '%a %h' /new"
    done = cli("run", "--rm", "made/it:1", "sh", "-c", check)
    assert done.out.split() == ["new", "/d:", "second", "/vol:", "4711", "2"]
    history = cli("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "made/it:1").ok().out
    assert history.splitlines()[0] == f"sh -c {script}|why"
    if running:
        state = cli("inspect", "-f", "{{.State.Status}}", "cc").ok().line
        assert state == "running"
        cli("exec", "cc", "true", timeout=10).ok()
    cli("rm", "-f", "cc").ok()
    cli("rmi", "made/it:1").ok()


def test_changes_are_applied(cli: Client) -> None:
    cli("create", "--name", "cc", "-e", "KEPT=1", BUSYBOX, "true").ok()
    changes = [
        'CMD ["echo", "from cmd"]',
        "ENTRYPOINT []",
        "ENV A=b C=d",
        "EXPOSE 80 53/udp",
        "LABEL l=m",
        "USER www-data",
        "VOLUME /v",
        "WORKDIR /tmp",
        "STOPSIGNAL SIGINT",
        "ONBUILD RUN true",
        "HEALTHCHECK --interval=5s CMD true",
        'SHELL ["/bin/ash", "-c"]',
    ]
    cli("commit", *(word for change in changes for word in ("-c", change)), "cc", "changed").ok()
    config = inspected(cli, "changed")["Config"]
    assert isinstance(config, dict)
    assert config["Cmd"] == ["echo", "from cmd"]
    assert {"KEPT=1", "A=b", "C=d"} <= set(config["Env"])
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert (config["Labels"]["l"], config["User"], config["WorkingDir"]) == ("m", "www-data", "/tmp")
    assert list(config["Volumes"]) == ["/v"]
    assert (config["StopSignal"], config["OnBuild"]) == ("SIGINT", ["RUN true"])
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000}
    assert config["Shell"] == ["/bin/ash", "-c"]
    assert cli("run", "--rm", "changed").ok().out == "from cmd\n"
    cli("rmi", "changed").ok()


def test_without_a_name_and_without_changes(cli: Client) -> None:
    cli("create", "--name", "cc", BUSYBOX, "true").ok()
    made = cli("commit", "--pause=false", "cc").ok().line
    assert cli("run", "--rm", made, "echo", "runs").ok().out == "runs\n"
    assert inspected(cli, made)["RootFS"] == inspected(cli, BUSYBOX)["RootFS"]
    until = str(int(time.time()) + 1)  # docker's client counts in whole seconds
    shown = cli("events", "--since", "1m", "--until", until, "--filter", "event=commit", "--format", "{{.Action}}")
    assert "commit" in shown.ok().out
    cli("rmi", made).ok()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nobody",), "No such container: nobody"),
        (("cc", "UPPER"), "must be lowercase"),
        (("-c", "FROM x", "cc"), "is not a valid change command"),
        (("cc", "name@sha256:" + "0" * 64), ""),
    ],
)
def test_what_is_refused(cli: Client, arguments: tuple[str, ...], says: str) -> None:
    cli("create", "--name", "cc", BUSYBOX, "true").ok()
    done = cli("commit", *arguments)
    assert done.status == 1
    assert says in done.err


def test_an_engine_that_dies_within_a_commit_leaves_the_container_running(engine: Engine) -> None:
    """The container stands still for the time of a commit; whoever takes over lets it go on."""
    script = "dd if=/dev/urandom of=/big bs=1M count=150; touch /ready; exec sleep 1000"
    engine.docker("run", "-d", "--name", "cc", BUSYBOX, "sh", "-c", script).ok()
    engine.docker("exec", "cc", "sh", "-c", "until test -e /ready; do sleep 0.1; done").ok()
    client = engine.docker.popen("commit", "cc", "never")
    next(line for line in engine.api.stream("GET", "/events?since=1") if line["Action"] == "pause")
    engine.kill9()
    client.communicate()
    engine.up()
    engine.docker("exec", "cc", "true", timeout=20).ok()
    assert engine.api("GET", "/images/never/json").status == 404
    engine.docker("commit", "cc", "after").ok()
    engine.docker("rm", "-f", "cc").ok()
    engine.docker("rmi", "after").ok()
