"""Data survives: two writers at once, an engine that is killed meanwhile, upgrades of a database's container."""

from __future__ import annotations

import shlex

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.hub import Hub
from tests.support.waiting import wait_until

LINES = 4000


def test_two_containers_write_into_one_volume_while_the_engine_is_killed(engine: Engine) -> None:
    """Each line is there once and whole: a volume is one directory to both."""
    for name in ("one", "two"):
        script = f"until [ -e /v/go ]; do sleep 0.05; done; for i in $(seq {LINES}); do echo {name} $i >> /v/log; done"
        engine.docker("run", "-d", "--name", name, "-v", "shared:/v", BUSYBOX, "sh", "-c", script).ok()
    data = engine.data_root / "volumes/shared/_data"
    (data / "go").touch()
    wait_until((data / "log").exists, what="the first line")
    engine.kill9()
    engine.up()
    for name in ("one", "two"):
        assert engine.docker("wait", name).ok().line == "0"
    lines = (data / "log").read_text().splitlines()
    for name in ("one", "two"):
        assert [line for line in lines if line.startswith(name)] == [f"{name} {i}" for i in range(1, LINES + 1)]
    assert len(lines) == 2 * LINES
    # While either is there, running or not, the volume stays; prune takes what docker's takes.
    assert "volume is in use" in engine.docker("volume", "rm", "-f", "shared").err
    engine.docker("run", "--name", "third", "-v", "/anonymous", BUSYBOX, "true").ok()
    engine.docker("volume", "create", "spare").ok()
    lost = engine.docker("volume", "create").ok().line
    assert lost in engine.docker("volume", "prune", "-f").ok().out
    assert len(engine.docker("volume", "ls", "-q").ok().out.split()) == 3
    assert "spare" in engine.docker("volume", "prune", "-af").ok().out
    assert len(engine.docker("volume", "ls", "-q").ok().out.split()) == 2
    assert (data / "log").exists()


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_postgres_keeps_its_database_over_upgrades_of_its_container(hub: Hub) -> None:
    """Three images of the same data format, one after another, as with a minor version; the engine is killed once."""
    hub.provide("postgres")
    hub.have("postgres:latest")
    engine = hub.engine
    settings = shlex.split("-e POSTGRES_USER=training -e POSTGRES_PASSWORD=training -e POSTGRES_DB=training")
    query = ("exec", "-e", "PGPASSWORD=training", "mydb", "psql", "-h", "localhost", "-U", "training", "training")

    def run(tag: str) -> None:
        volume = "pgdata:/var/lib/postgresql/data"
        engine.docker("run", "-d", "--name", "mydb", *settings, "-v", volume, f"postgres:{tag}").ok()
        wait_until(lambda: asked("select 6 * 7") == "42", 90, f"the database of {tag}")

    def asked(statement: str) -> str:
        return engine.docker(*query, "-tAc", statement).out.strip()

    try:
        run("latest")
        assert asked("create table kept (number int); insert into kept select generate_series(1, 1000)")
        for number, tag in enumerate(("next", "last"), start=1):
            made = f"FROM postgres:latest\nLABEL version={tag}\nENV VERSION={tag}\n"
            engine.docker("build", "-t", f"postgres:{tag}", "-", input=made, env={"DOCKER_BUILDKIT": "0"}).ok()
            if tag == "last":
                engine.kill9()
                engine.up()
            else:
                engine.docker("stop", "mydb").ok()
            engine.docker("rm", "-f", "-v", "mydb").ok()
            run(tag)
            assert engine.docker("exec", "mydb", "printenv", "VERSION").ok().line == tag
            assert asked("select count(*), sum(number) from kept") == f"{1000 * number}|{500500 * number}"
            assert asked("insert into kept select generate_series(1, 1000)")
    finally:
        for tag in ("next", "last"):
            engine.api("DELETE", f"/images/postgres:{tag}?force=1")
