"""`context` as docker's client has it, on files that both share; engines behind ssh."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.support.engine import BIN, Client, Done, Engine, docker_program
from tests.support.registry import Certificates

needs_docker = pytest.mark.skipif(docker_program() is None, reason="docker's client is not installed")
_UNSET = ("DOCKER_HOST", "DARSE_HOST", "DOCKER_CONTEXT")


def _client(program: str, config: Path) -> Client:
    client = Client(program, "", config)
    for name in _UNSET:
        client.environment.pop(name, None)
    return client


# What each line is run with, and the line. `W` is a directory of certificates and exported files.
_SESSION: list[tuple[dict[str, str], str]] = [
    ({}, "ls"),
    ({}, "show"),
    ({}, "create aa --docker host=unix:///x.sock --description words"),
    ({}, "create aa"),
    ({}, "create a"),
    ({}, "create default"),
    ({}, "create bb --docker host=ssh://me@far:22,skip-tls-verify=true"),
    ({}, "create cc --docker host=tcp://h:2376,ca=W/ca,cert=W/cert --docker key=W/key"),
    ({}, "create ee --from aa"),
    ({}, "create ff --from cc --description other"),
    ({}, "create xx --from aa --docker host=tcp://h:1"),
    ({}, "create xx --from none"),
    ({}, "create xx --docker foo=bar"),
    ({}, "create xx --docker host=foo"),
    ({}, "create xx --docker ca=/nonexistent,host=tcp://h:1"),
    ({}, "create xx --docker host"),
    ({}, "create xx --docker host=ssh://a:b@h"),
    ({}, "create xx --docker host=ssh://h/x.sock?y=z"),
    ({}, "create xx --docker host=ssh://h#y"),
    ({}, "create xx --docker host=ssh://me@"),
    ({}, "create xx --docker host=tcp://h:1,from=none"),
    ({}, "create xx --docker host=tcp://h:1,skip-tls-verify=maybe"),
    ({}, "create"),
    ({}, "ls"),
    ({}, "ls -q"),
    ({}, "ls --format json"),
    ({}, "ls --format {{.Name}}|{{.Current}}|{{.DockerEndpoint}}|{{.Description}}|{{.Error}}"),
    ({}, "inspect aa cc"),
    ({}, "inspect none aa"),
    ({}, "inspect -f {{.Name}}|{{.Endpoints.docker.Host}} aa ff"),
    ({}, "use bb"),
    ({}, "show"),
    ({}, "ls"),
    ({}, "use none"),
    ({}, "use b"),
    ({}, "rm bb"),
    ({}, "rm none default aa"),
    ({}, "rm -f bb none"),
    ({}, "show"),
    ({}, "update cc --description new"),
    ({}, "inspect cc"),
    ({}, "update cc --docker host=tcp://z:1"),
    ({}, "inspect cc"),
    ({}, "update cc"),
    ({}, "update none"),
    ({}, "update default"),
    ({}, "export ff W/ff.tar"),
    ({}, "export ff W/ff.tar"),
    ({}, "export none W/none.tar"),
    ({}, "import gg W/ff.tar"),
    ({}, "import gg W/ff.tar"),
    ({}, "import default W/ff.tar"),
    ({}, "import hh /nonexistent"),
    ({}, "inspect gg"),
    ({"DOCKER_CONTEXT": "ff"}, "ls"),
    ({"DOCKER_CONTEXT": "ff"}, "show"),
    ({"DOCKER_CONTEXT": "ff"}, "rm ff"),
    ({"DOCKER_CONTEXT": "none"}, "ls"),
    ({"DOCKER_HOST": "unix:///y.sock"}, "ls"),
    ({"DOCKER_HOST": "unix:///y.sock"}, "show"),
    ({"DOCKER_HOST": "unix:///y.sock"}, "use gg"),
    ({"DOCKER_HOST": "unix:///y.sock", "DOCKER_CONTEXT": "ff"}, "show"),
    ({}, "show"),
    ({}, "use default"),
    ({}, "show x"),
    ({}, "import x"),
]


def _said(done: Done, config: Path, files: Path) -> tuple[int, object, str]:
    out, err = (
        text.replace(str(config), "CONFIG")
        .replace(str(files), "FILES")
        .replace("unix:///run/darse/darse.sock", "unix:///var/run/docker.sock")
        .replace("docker context", "darse context")
        .replace("docker: ", "darse: ")
        for text in (done.out, done.err)
    )
    if out.startswith("["):
        return done.status, json.loads(out), err
    # The lengths of the two default sockets differ.
    return done.status, re.sub(" +", " ", out), err


@needs_docker
def test_a_session_as_with_docker(tmp_path: Path) -> None:
    program = docker_program()
    assert program
    said: list[list[object]] = []
    for client in (_client(program, tmp_path / "docker"), _client(str(BIN / "darse"), tmp_path / "darse")):
        files = tmp_path / f"files-{client.name}"
        files.mkdir()
        certificates = Certificates.make(files)
        certificates.authority.rename(files / "ca")
        certificates.server.rename(files / "cert")
        certificates.server_key.rename(files / "key")
        config = tmp_path / client.name
        results: list[object] = []
        for environment, line in _SESSION:
            words = ["context", *line.replace("W/", f"{files}/").split()]
            results.append(_said(client(*words, env=environment), config, files))
        said.append(results)
    different = [
        f"{line}:\n  docker {theirs}\n  darse  {ours}"
        for line, theirs, ours in zip(_SESSION, *said, strict=True)
        if theirs != ours
    ]
    assert not different, f"{len(different)} of {len(_SESSION)}:\n" + "\n".join(different)


@needs_docker
def test_contexts_are_shared_with_docker(engine: Engine, tmp_path: Path) -> None:
    program = docker_program()
    assert program
    docker, darse = _client(program, tmp_path), _client(str(BIN / "darse"), tmp_path)
    darse("context", "create", "ours", "--docker", f"host={engine.host}").ok()
    docker("context", "create", "theirs", "--docker", f"host={engine.host}").ok()
    for client in (docker, darse):
        for name in ("ours", "theirs"):
            assert client("-c", name, "version", "--format", "{{.Server.Os}}").ok().line == "linux"
    darse("context", "use", "theirs").ok()
    assert docker("context", "show").line == "theirs"
    assert json.loads((tmp_path / "config.json").read_text())["currentContext"] == "theirs"
    assert darse("ps", "-q").ok().out == ""
    assert "cannot specify both --host and --context" in darse("-c", "ours", "-H", "unix:///x", "ps").err
    assert 'context "none": context not found' in darse("ps", env={"DOCKER_CONTEXT": "none"}).err


_SSH = """#!/bin/sh
# Stands for ssh and the far side: notes how it was called, and runs the command there is for the far shell.
printf '%s\\n' "$@" > "$0.called"
for last; do :; done
DARSE_HOST=$FAR_HOST; export DARSE_HOST; PATH=${FAR_PATH:-$PATH}; export PATH
exec sh -c "$last"
"""


@pytest.fixture
def far(engine: Engine, tmp_path: Path) -> tuple[Client, Path]:
    """A client for which ssh leads to the engine, and what ssh was called with."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(_SSH)
    (programs / "ssh").chmod(0o755)
    client = _client(str(BIN / "darse"), tmp_path / "config")
    client.environment |= {"FAR_HOST": engine.host, "PATH": f"{programs}:{BIN}:{os.environ['PATH']}"}
    return client, programs / "ssh.called"


@pytest.mark.parametrize(
    ("address", "called"),
    [
        ("me@far:2222", ["-T", "-o", "ConnectTimeout=30", "-l", "me", "-p", "2222", "--", "far"]),
        ("far", ["-T", "-o", "ConnectTimeout=30", "--", "far"]),
        ("you%40home@far", ["-T", "-o", "ConnectTimeout=30", "-l", "you@home", "--", "far"]),
        ("[::1]", ["-T", "-o", "ConnectTimeout=30", "--", "::1"]),
        ("[::1]:22", ["-T", "-o", "ConnectTimeout=30", "-p", "22", "--", "::1"]),
    ],
)
def test_an_engine_behind_ssh(far: tuple[Client, Path], address: str, called: list[str]) -> None:
    client, record = far
    client("context", "create", "far", "--docker", f"host=ssh://{address}").ok()
    assert client("-c", "far", "run", "--rm", "-i", "builtin/busybox", "cat", input="through\n").ok().out == "through\n"
    assert record.read_text().splitlines()[: len(called)] == called


def test_a_socket_behind_ssh(far: tuple[Client, Path], engine: Engine) -> None:
    client, record = far
    client.environment["FAR_HOST"] = "unix:///nonexistent.sock"
    assert client("-H", f"ssh://far{engine.socket}", "version", "--format", "{{.Server.Os}}").ok().line == "linux"
    assert f"set -- --host unix://{engine.socket}\n" in record.read_text()


def test_a_far_side_without_commands(far: tuple[Client, Path], engine: Engine, tmp_path: Path) -> None:
    client, _ = far
    bare = tmp_path / "bare"
    bare.mkdir()
    for program in ("sh", "python3"):
        (bare / program).symlink_to(f"/usr/bin/{program}")
    client.environment["FAR_PATH"] = str(bare)
    socket = f"ssh://far{engine.socket}"
    assert (
        client("-H", socket, "run", "--rm", "-i", "builtin/busybox", "cat", input="through\n").ok().out == "through\n"
    )
    missing = client("-H", "ssh://far/nonexistent.sock", "ps")
    assert missing.status == 1
    assert missing.err.startswith("neither darse nor docker is on the PATH that ssh gets here")
    (bare / "docker").write_text('#!/bin/sh\necho "docker $*" >&2\nexit 1\n')
    (bare / "docker").chmod(0o755)
    assert client("-H", socket, "ps").err.startswith(f"docker --host unix://{engine.socket} system dial-stdio\n")
    if not os.path.exists("/run/darse/darse.sock"):
        assert client("-H", "ssh://far", "ps").err.startswith("docker system dial-stdio\n")


def test_what_is_no_address_of_ssh(far: tuple[Client, Path]) -> None:
    client, record = far
    for address, said in {
        "": "hostname is empty",
        "me@": "hostname is empty",
        "me:secret@far": "plain-text password is not supported",
        "me:@far": "plain-text password is not supported",
        "far?x=1#y": 'query parameters are not allowed: "x=1"',
        "far#y": 'fragments are not allowed: "y"',
    }.items():
        done = client("-H", f"ssh://{address}", "ps")
        assert (done.status, done.err) == (1, f"ssh host connection is not valid: invalid SSH URL: {said}\n")
    for address in ("far:port", "[::1", "::1]"):
        assert "it is ssh://[USER@]HOST[:PORT][/SOCKET]" in client("-H", f"ssh://{address}", "ps").err
    assert not record.exists()


def test_ssh_that_fails(far: tuple[Client, Path]) -> None:
    client, record = far
    (record.parent / "ssh").write_text("#!/bin/sh\necho Permission denied >&2\nexit 255\n")
    done = client("-H", "ssh://far", "ps")
    assert done.status == 1
    assert done.err.startswith("Permission denied\n")
    assert "can you log in there with ssh" in done.err


def _tar(entries: dict[str, bytes | None]) -> bytes:
    """An archive; None is a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content or b""))
    return buffer.getvalue()


def _zip(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


_META = json.dumps({"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": "tcp://h:1"}}}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither a tar nor a zip"),
        (b"no archive at all", "neither a tar nor a zip"),
        (_tar({"tls/docker/ca.pem": b"x"}), "no metadata found"),
        (_tar({"meta.json": b"{"}), "names no engine"),
        (_tar({"meta.json": b"[]"}), "names no engine"),
        (_tar({"meta.json": b"[" * 100_000}), "names no engine"),
        (_tar({"meta.json": b'{"Endpoints": {"docker": {"Host": 1}}}'}), "names no engine"),
        (_tar({"meta.json": None}), "is no file"),
        (_tar({"meta.json": _META, "tls/docker/../../../../evil": b"x"}), "unexpected file"),
        (_tar({"meta.json": _META, "/etc/evil": b"x"}), "unexpected file"),
        (_tar({"meta.json": _META, "tls/docker/config": b"x"}), "unexpected file"),
        (_tar({"meta.json": _META, "tls/docker/ca.pem": None}), "is no file"),
        (_tar({"meta.json": _META, "tls/docker/ca.pem": b"x" * (11 << 20)}), "larger than 10 MB"),
        (_zip({"meta.json": _META, "tls/docker/ca.pem": b"\0" * (50 << 20)}), "larger than 10 MB"),
        (_tar({"meta.json": _META})[:600], "neither a tar nor a zip"),
    ],
)
def test_what_cannot_be_imported(tmp_path: Path, content: bytes, message: str) -> None:
    darse = _client(str(BIN / "darse"), tmp_path / "config")
    done = darse("context", "import", "new", "-", input=content)
    assert done.status == 1
    assert message in done.err
    assert not (tmp_path / "config").exists()


def test_a_zip_is_imported(tmp_path: Path) -> None:
    darse = _client(str(BIN / "darse"), tmp_path)
    darse("context", "import", "new", "-", input=_zip({"meta.json": _META, "tls/docker/key.pem": b"secret"})).ok()
    [shown] = json.loads(darse("context", "inspect", "new").ok().out)
    assert (shown["Name"], shown["TLSMaterial"]) == ("new", {"docker": ["key.pem"]})
    key = Path(shown["Storage"]["TLSPath"]) / "docker" / "key.pem"
    assert (key.read_bytes(), key.stat().st_mode & 0o777) == (b"secret", 0o600)


def test_a_damaged_context_is_named(tmp_path: Path) -> None:
    darse = _client(str(BIN / "darse"), tmp_path)
    darse("context", "create", "good", "--docker", "host=tcp://h:1").ok()
    [path] = tmp_path.glob("contexts/meta/*/meta.json")
    path.write_text("{")
    assert f"parsing {path}" in darse("context", "ls").err
