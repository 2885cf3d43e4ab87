"""`build` by both commands: from the context to an image that runs."""

from __future__ import annotations

import http.server
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Client, Done, Engine
from tests.support.files import write_files
from tests.support.registry import Registry
from tests.support.serving import ThreadedServer
from tests.support.waiting import wait_until

_CLASSIC = {"DOCKER_BUILDKIT": "0"}


@pytest.fixture(params=["docker", "darse"])
def client(request: pytest.FixtureRequest, engine: Engine) -> Client:
    found: Client = getattr(engine, request.param)
    return found


def build(client: Client, *arguments: str, **options: object) -> Done:
    return client("build", *arguments, env=_CLASSIC, **options)  # type: ignore[arg-type]


def test_a_dockerfile_becomes_an_image_that_runs(client: Client, tmp_path: Path) -> None:
    dockerfile = f"FROM {BUSYBOX}\nENV HI=hello\nCOPY name /\nRUN echo $HI $(cat /name) > /said\nCMD cat /said\n"
    write_files(tmp_path, {"Dockerfile": dockerfile, "name": "world"})
    built = build(client, "-t", "app:1", "-t", "app:2", str(tmp_path)).ok()
    assert "RUN echo" in built.out + built.err
    assert client("run", "--rm", "app:1").ok().out == "hello world\n"
    one, two = (client("image", "inspect", "-f", "{{.Id}}", name).line for name in ("app:1", "app:2"))
    assert one == two


def test_what_changes_nothing_gives_the_same_image(client: Client, tmp_path: Path) -> None:
    write_files(
        tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nCOPY a /\nRUN date > /when\nLABEL by={client.name}\n", "a": "1"}
    )
    first = build(client, "-q", str(tmp_path)).ok().line
    assert build(client, "-q", str(tmp_path)).ok().line == first
    os.utime(tmp_path / "a", (1, 1))
    assert build(client, "-q", str(tmp_path)).ok().line == first
    write_files(tmp_path, {"a": "2"})
    assert build(client, "-q", str(tmp_path)).ok().line != first


def test_the_time_of_everything_can_be_chosen(client: Client, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN date +%N > /when\nLABEL by={client.name}\n"})
    image = build(client, "-q", "--build-arg", "SOURCE_DATE_EPOCH=1000000000", str(tmp_path)).ok().line
    assert client("image", "inspect", "-f", "{{.Created}}", image).line == "2001-09-09T01:46:40Z"


def test_a_failed_process_says_which_and_stops_the_build(client: Client, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo said; exit 7\nRUN echo never\n"})
    failed = build(client, str(tmp_path))
    assert failed.status == (7 if client.name == "docker" else 1)
    assert "said" in failed.out + failed.err
    assert "never" not in failed.out
    expected = {
        "docker": "The command '/bin/sh -c echo said; exit 7' returned a non-zero code: 7",
        "darse": 'process "/bin/sh -c echo said; exit 7" did not complete successfully: exit code: 7',
    }
    assert expected[client.name] in failed.err


def test_a_dockerfile_from_elsewhere(client: Client, tmp_path: Path) -> None:
    context = tmp_path / "context"
    write_files(context, {"a": "1", ".dockerignore": "b\n", "b": "2"})
    text = f"FROM {BUSYBOX}\nCOPY . /x\nRUN ls -A /x | sort | tr '\\n' ' ' > /seen\nCMD cat /seen\n"
    write_files(tmp_path, {"Other": text})
    for arguments, given in ((("-f", str(tmp_path / "Other")), None), (("-f", "-"), text)):
        image = build(client, "-q", *arguments, str(context), input=given).ok().line
        assert client("run", "--rm", image).ok().out.split() == [".dockerignore", "a"], arguments


def test_a_dockerfile_without_a_context(client: Client) -> None:
    image = build(client, "-q", "-", input=f"FROM {BUSYBOX}\nCMD echo alone\n").ok().line
    assert client("run", "--rm", image).ok().out == "alone\n"


def test_an_archive_on_standard_input(client: Client, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in (("sub/Dockerfile", f"FROM {BUSYBOX}\nCOPY a /a\nCMD cat /a\n"), ("a", "1\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data.encode()))
    image = build(client, "-q", "-f", "sub/Dockerfile", "-", input=buffer.getvalue()).ok().line
    assert client("run", "--rm", image).ok().out == "1\n"


def test_options_of_builds(client: Client, tmp_path: Path) -> None:
    dockerfile = (
        f"ARG BASE=nothing\nFROM {BUSYBOX} AS first\nARG A\nRUN echo $A; grep -c 10.9.8.7 /etc/hosts; df -k /dev/shm\n"
        "FROM nothing-like-this AS second\n"
    )
    write_files(tmp_path, {"Dockerfile": dockerfile})
    arguments = ("--target", "first", "--build-arg", "A=given", "--add-host", "there:10.9.8.7", "--shm-size", "8m")
    iidfile = tmp_path / "iid"
    built = build(client, *arguments, "--label", "of=test", "--iidfile", str(iidfile), "--no-cache", str(tmp_path)).ok()
    assert "given" in built.out + built.err
    assert "8192" in built.out + built.err
    image = client("image", "inspect", "-f", "{{.Id}} {{.Config.Labels.of}}", iidfile.read_text()).ok().line
    assert image == f"{iidfile.read_text()} test"


def test_an_ignore_file_keeps_files_at_home(client: Client, tmp_path: Path) -> None:
    files = {
        ".dockerignore": "**/*.log\n!keep.log\nnode_modules\n",
        "a.log": "",
        "keep.log": "",
        "d/b.log": "",
        "d/c": "",
    }
    write_files(
        tmp_path,
        {
            **files,
            "node_modules/x/y": "",
            "Dockerfile": f"FROM {BUSYBOX}\nCOPY . /x\nCMD cd /x && find . -type f | sort\n",
        },
    )
    image = build(client, "-q", str(tmp_path)).ok().line
    assert client("run", "--rm", image).ok().out.split() == ["./.dockerignore", "./Dockerfile", "./d/c", "./keep.log"]


def test_the_cache_is_seen_and_pruned(client: Client, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN head -c 100000 /dev/zero > /{client.name}\n"})
    build(client, str(tmp_path)).ok()
    assert "Build Cache" in client("system", "df").ok().out
    row = next(line for line in client("system", "df").ok().out.splitlines() if line.startswith("Build Cache"))
    assert "0B" not in row.split()[4]
    pruned = client("builder", "prune", "-af", env=_CLASSIC).ok()
    assert "Total reclaimed space" in pruned.out
    row = next(line for line in client("system", "df").ok().out.splitlines() if line.startswith("Build Cache"))
    assert row.split()[2] == "0"


def test_a_client_that_is_killed_ends_its_build(client: Client, engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo {client.name}; exec sleep 4321\n"})
    process = client.popen("build", str(tmp_path), start_new_session=True)

    def sleeping() -> bool:
        return any("4321" in command for command in _commands())

    wait_until(sleeping, 20, "the step to run")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not sleeping(), 10, "the step to end")
    contexts = engine.data_root / "build" / "contexts"
    wait_until(lambda: not list(contexts.iterdir()), 10, "the context to go")


def _commands() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (line := (entry / "cmdline").read_bytes()):
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended
    return [line for line in found if line.startswith("sleep ")]


def test_what_a_killed_engine_was_building_is_gone_at_its_start(tmp_path: Path) -> None:
    engine = Engine.start()
    try:
        write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo 1 > /a\nRUN exec sleep 1234\n"})
        process = engine.darse.popen("build", str(tmp_path))
        wait_until(lambda: any("1234" in command for command in _commands()), 20, "the step to run")
        engine.kill9()
        process.communicate()
        engine.restart()
        assert not (engine.data_root / "build" / "contexts").exists()
        assert not any("1234" in command for command in _commands())
        write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo 1 > /a\n"})
        assert "CACHED [2/2]" in _flat(engine.darse("build", str(tmp_path)).ok().err)
    finally:
        engine.close()


def _flat(text: str) -> str:
    """Plain progress with the outcome of each step before its name."""
    names: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(" ")
        if rest == "CACHED":
            names[number] = f"CACHED {names[number]}"
        else:
            names.setdefault(number, rest)
    return "\n".join(names.values())


# What docker's classic client does not have


def test_secrets_reach_their_process_and_nothing_else(engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        f"FROM {BUSYBOX}\nRUN --mount=type=secret,id=one --mount=type=secret,id=two,env=TWO "
        "cat /run/secrets/one; test $TWO\n"
    )
    write_files(tmp_path, {"Dockerfile": dockerfile})
    secret = tmp_path / "elsewhere"
    secret.write_text("of-file")
    arguments = ("--secret", f"id=one,src={secret}", "--secret", "id=two,env=VARIABLE", "--progress=plain")
    built = engine.darse("build", *arguments, "-t", "secret", str(tmp_path), env={"VARIABLE": "of-environment"}).ok()
    assert "of-file" in built.err
    assert "of-environment" not in engine.darse("history", "--no-trunc", "secret").out
    assert not list(engine.data_root.rglob("*of-file*"))
    saved = engine.darse("save", "secret").ok().raw
    assert b"of-file" not in saved
    assert b"of-environment" not in saved
    assert "of-file" not in engine.log(1 << 20)


def test_named_contexts(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path / "main", {"Dockerfile": "FROM base\nCOPY --from=other file /copied\nCMD cat /copied\n"})
    write_files(tmp_path / "other", {"file": "of another\n"})
    named = ("--build-context", f"other={tmp_path / 'other'}", "--build-context", f"base=docker-image://{BUSYBOX}")
    image = engine.darse("build", "-q", *named, str(tmp_path / "main")).ok().line
    assert engine.darse("run", "--rm", image).ok().out == "of another\n"


def test_metadata_and_raw_progress(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo said\n"})
    metadata = tmp_path / "metadata.json"
    built = engine.darse(
        "build", "--no-cache", "--progress=rawjson", "-t", "raw", "--metadata-file", str(metadata), str(tmp_path)
    ).ok()
    documents = [json.loads(line) for line in built.err.splitlines()]
    names = {vertex["name"] for document in documents for vertex in document.get("vertexes", ())}
    assert "[2/2] RUN echo said" in names
    found = json.loads(metadata.read_text())
    assert found["image.name"] == "raw:latest"
    assert found["containerimage.config.digest"] == engine.darse("image", "inspect", "-f", "{{.Id}}", "raw").line


def test_a_terminal_shows_each_step_with_its_seconds(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo said; sleep 0.5\n"})
    terminal = engine.darse.terminal("build", "--no-cache", str(tmp_path), rows=30, columns=100)
    terminal.expect(r"\[\+\] Building [0-9.]+s")
    terminal.expect("=> => # said")
    terminal.expect(r"FINISHED")
    terminal.expect(r"=> \[2/2\] RUN echo said; sleep 0.5 +0\.[5-9]s")
    terminal.expect("writing image sha256:")
    terminal.close()
    assert terminal.exitstatus in (0, None)


def test_what_checks_find(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nCMD sleep 1\n"})
    found = engine.darse("build", "--check", str(tmp_path))
    assert found.status == 1
    assert found.out.startswith("WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args")
    assert "   2 | >>> CMD sleep 1" in found.out
    assert found.out.endswith("Check complete, 1 warning has been found!\n")
    write_files(tmp_path, {"Dockerfile": f'FROM {BUSYBOX}\nCMD ["x"]\n'})
    assert engine.darse("build", "--check", str(tmp_path)).ok().out == "Check complete, no warnings found.\n"
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUNN x\n"})
    found = engine.darse("build", "--check", str(tmp_path))
    assert (found.status, "unknown instruction: RUNN" in found.out) == (1, True)


def test_targets_and_what_one_can_be_given(engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        f"# base everything begins here\nFROM {BUSYBOX} AS base\n# VERSION of all\nARG VERSION=1\n"
        "RUN --mount=type=secret,id=token,required=true echo $VERSION\nFROM base\n"
    )
    write_files(tmp_path, {"Dockerfile": dockerfile})
    targets = engine.darse("build", "--call=targets", str(tmp_path)).ok().out.splitlines()
    assert [line.split(None, 1) for line in map(str.rstrip, targets)] == [
        ["TARGET", "DESCRIPTION"],
        ["base", "everything begins here"],
        ["1", "(default)"],
    ]
    outline = engine.darse("build", "--call=outline", "--target=base", str(tmp_path)).ok().out
    assert "TARGET:      base" in outline
    assert "VERSION     1         of all" in outline
    assert "token     true" in outline
    assert engine.darse("build", "--call=nonsense", str(tmp_path)).status == 1


def test_outputs_that_are_no_image(engine: Engine, tmp_path: Path) -> None:
    context = write_files(tmp_path / "context", {"Dockerfile": "FROM scratch\nCOPY a /d/a\n", "a": "1"})
    out = tmp_path / "out"
    engine.darse("build", "-o", str(out), str(context)).ok()
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == ["d", "d/a"]
    archive = engine.darse("build", "-o", "-", str(context)).ok().raw
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert [entry.name.strip("./") for entry in tar if entry.isfile()] == ["d/a"]
    engine.darse("build", "-o", f"type=docker,dest={tmp_path}/image.tar,name=out:1", str(context)).ok()
    engine.darse("rmi", "out:1").ok()
    assert "out:1" in engine.darse("load", "-i", f"{tmp_path}/image.tar").ok().out
    assert engine.darse("build", "-o", "type=nonsense,dest=x", str(context)).status == 1
    assert not engine.api("GET", "/containers/json?all=1").json()


def test_an_image_is_pushed_under_its_names(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo pushed > /a\n"})
    with Registry() as registry:
        name = f"{registry.address}/team/app:1"
        engine.darse("build", "--push", "-t", name, str(tmp_path)).ok()
        engine.darse("rmi", name).ok()
        assert engine.darse("run", "--rm", name, "cat", "/a").ok().out == "pushed\n"
        assert engine.darse("build", "--push", str(tmp_path)).status == 1
        engine.darse("rmi", name).ok()
        # A base that is not here is pulled.
        for client in (engine.docker, engine.darse):
            write_files(tmp_path, {"Dockerfile": f"FROM {name}\nRUN cat /a\n"})
            built = build(client, "--no-cache", "--pull", str(tmp_path)).ok()
            assert "pushed" in built.out + built.err


class _Files(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        owner: Any = self.server.owner  # type: ignore[attr-defined]
        return str(owner.directory) + path.partition("?")[0]

    def log_message(self, *_: object) -> None:
        """Tests say what they want to."""


def test_an_archive_at_a_url(engine: Engine, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        data = f"FROM {BUSYBOX}\nCMD echo of-a-url\n".encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    (tmp_path / "context.tar.gz").write_bytes(buffer.getvalue())
    (tmp_path / "plain").write_bytes(data)
    server = ThreadedServer(_Files)
    server.directory = tmp_path  # type: ignore[attr-defined]
    with server:
        address = server.address
        for name in ("context.tar.gz", "plain"):
            for client in (engine.docker, engine.darse):
                image = build(client, "-q", f"http://{address}/{name}").ok().line
                assert client("run", "--rm", image).ok().out == "of-a-url\n"
        missing = engine.darse("build", f"http://{address}/nothing")
        assert missing.status == 1
        assert "not found" in missing.err.lower()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_context_in_a_repository(engine: Engine, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path / "work", check=True, capture_output=True)

    write_files(tmp_path / "work", {"sub/Dockerfile": f"FROM {BUSYBOX}\nCOPY a /\nCMD cat /a\n", "sub/a": "of git\n"})
    for arguments in (("init",), ("add", "-A"), ("commit", "-m", "one"), ("tag", "v1")):
        git(*arguments)
    write_files(tmp_path / "work", {"sub/a": "later\n"})
    git("commit", "-a", "-m", "two")
    git("clone", "--bare", ".", str(tmp_path / "project.git"))
    subprocess.run(["git", "update-server-info"], cwd=tmp_path / "project.git", check=True)
    server = ThreadedServer(_Files)
    server.directory = tmp_path  # type: ignore[attr-defined]
    with server:
        for reference, expected in (("main", "later\n"), ("v1", "of git\n")):
            url = f"http://{server.address}/project.git#{reference}:sub"
            image = engine.darse("build", "-q", url).ok().line
            assert engine.darse("run", "--rm", image).ok().out == expected
        missing = engine.darse("build", "-f", "nope", f"http://{server.address}/project.git#main:sub")
        assert "Cannot locate specified Dockerfile: nope" in missing.err


def test_system_prune_takes_the_cache_along(client: Client, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN head -c 100000 /dev/zero > /pruned-by-{client.name}\n"})
    build(client, str(tmp_path)).ok()
    pruned = client("system", "prune", "-f", "--filter", "label=nothing").ok()
    assert "Deleted build cache objects:" in pruned.out
    row = next(line for line in client("system", "df").ok().out.splitlines() if line.startswith("Build Cache"))
    assert row.split()[2] == "0"


def test_darse_build_sends_what_has_changed(engine: Engine, tmp_path: Path) -> None:
    context = tmp_path / "context"
    dockerfile = f"FROM {BUSYBOX}\nCOPY . /src\nRUN cd /src && find . | sort > /names\n"
    write_files(context, {"Dockerfile": dockerfile, ".dockerignore": "*.log\nDockerfile\nlogs\n!logs/kept\n"})
    write_files(context, {"a": "1", "b": "2", "c.log": "3", "logs/kept": "4", "logs/other": "5"})
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    arguments = ("build", "--progress", "plain", "-t", "sent:1", str(context))
    first = engine.darse(*arguments, env=environment).ok()
    assert "transferring context: 4 files" in first.err
    assert (tmp_path / ".buildNodeID").stat().st_mode & 0o777 == 0o600
    found = engine.darse("run", "--rm", "sent:1", "find", "/src", "-type", "f").ok().out
    assert sorted(found.split()) == ["/src/.dockerignore", "/src/a", "/src/b", "/src/logs/kept"]

    # Files that were made just before they were read are asked for once more.
    wait_until(lambda: "transferring context" not in engine.darse(*arguments, env=environment).ok().err)
    write_files(context, {"b": "changed"})
    changed = engine.darse(*arguments, env=environment).ok()
    assert "transferring context: 1 files, 25 bytes" in changed.err
    assert engine.darse("run", "--rm", "sent:1", "cat", "/src/b").ok().out == "changed"
    kept = engine.darse("builder", "du", "--filter", "description=client's context", "--format", "{{.CacheType}}")
    assert set(kept.ok().out.split()) == {"source.local"}
    engine.darse("builder", "prune", "-af").ok()
    again = engine.darse(*arguments, env=environment).ok()
    assert "transferring context: 4 files" in again.err


def test_a_dockerfile_from_elsewhere_goes_with_a_context_sent_in_part(engine: Engine, tmp_path: Path) -> None:
    context = tmp_path / "context"
    write_files(context, {"a": "1", "sub/Dockerfile": "FROM scratch\n"})
    write_files(tmp_path, {"other": f"FROM {BUSYBOX}\nCOPY . /src\nCOPY --from=more x /\nCMD ls -A /src; cat /x\n"})
    write_files(tmp_path / "more", {"x": "more"})
    named = ("--build-context", f"more={tmp_path / 'more'}")
    engine.darse("build", "-f", str(tmp_path / "other"), *named, "-t", "elsewhere:1", str(context)).ok()
    assert engine.darse("run", "--rm", "elsewhere:1").ok().out == "a\nsub\nmore"
