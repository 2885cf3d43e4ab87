"""`manifest` against a real registry: what docker's client prints, stores and pushes, and lists that both share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BIN, Client, docker_program
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made, tar

pytestmark = needs_registry
needs_docker = pytest.mark.skipif(docker_program() is None, reason="docker's client is not installed")
_NOWHERE = "unix:///nonexistent.sock"


def made(architecture: str, *, docker: bool = False, variant: str = "", indent: int | None = 3) -> Made:
    """An image of one file; its manifest is written as docker writes it, unless told."""
    layer = tar({f"for-{architecture}": b""})
    return Made(layer, architecture=architecture, docker=docker, variant=variant, indent=indent)


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry with images of several architectures, in both formats."""
    with Registry() as one:
        for team in ("docker", "darse"):
            for name in ("amd64", "arm64"):
                image = made(name, docker=True, variant="v8" if name == "arm64" else "")
                image.push(one.address, f"{team}/app", name)
            made("s390x").push(one.address, f"{team}/other", "s390x")
            made("386", indent=None).push(one.address, f"{team}/other", "odd")
        yield one


# `R` is the registry, `T` the client's own part of it.
_SESSION = [
    "inspect R/T/app:amd64",
    "inspect -v R/T/app:arm64",
    "inspect R/T/app:none",
    "inspect R/T/none:none",
    "create R/T/app:1 R/T/app:amd64 R/T/app:arm64",
    "create R/T/app:1 R/T/app:amd64",
    "create -a R/T/app:1 R/T/other:s390x R/T/other:odd",
    "create -a R/T/app:1 R/T/app:none",
    "annotate R/T/app:1 R/T/app:arm64 --variant v9 --os-features a,b --os-features b,c --os-version 1",
    "annotate R/T/app:1 R/T/app:none",
    "annotate R/T/app:1 R/T/app:arm64 --arch none",
    "inspect R/T/app:1",
    "inspect -v R/T/app:1",
    "inspect R/T/app:1 R/T/app:arm64",
    "inspect -v R/T/app:1 R/T/other:odd",
    "inspect R/T/app:1 R/T/app:none",
    "push R/T/none:1",
    "push R/T/app:1",
    "push -p R/T/app:1",
    "inspect R/T/app:1",
    "inspect -v R/T/app:1",
    "rm R/T/app:1",
    "create R/T/new:1 R/T/other:s390x R/T/app:amd64",
    "push R/T/new:1",
    "inspect R/T/new:1",
    "create other.example.com/x:1 R/T/app:amd64",
    "push other.example.com/x:1",
    "rm other.example.com/x:1 R/T/new:1",
    "rm x R/T/none:1",
    "inspect UPPER",
    "create UPPER x",
    "create x:1 UPPER",
    "annotate UPPER x",
    "annotate x UPPER",
    "push UPPER",
    "rm UPPER",
    "push",
    "create x",
    "inspect",
    "inspect a b c",
    "annotate x",
    "rm",
]


@needs_docker
def test_a_session_as_with_docker(registry: Registry, tmp_path: Path) -> None:
    program = docker_program()
    assert program
    said: dict[str, list[tuple[int, str, str]]] = {}
    for client in (
        Client(program, _NOWHERE, tmp_path / "docker"),
        Client(str(BIN / "darse"), _NOWHERE, tmp_path / "darse"),
    ):
        said[client.name] = []
        for text in _SESSION:
            line = text.replace("R/", f"{registry.address}/").replace("/T/", f"/{client.name}/").split()
            # docker's client asks a registry without TLS only when it is told to.
            insecure = ["--insecure"] if line[0] in ("inspect", "create", "push") and len(line) > 1 else []
            done = client("manifest", *line, *insecure)
            out, err = (
                one.replace("docker.io", "HUB").replace("vnd.docker", "VND").replace("docker", "darse")
                for one in (done.out, done.err)
            )
            said[client.name].append((done.status, _without_raw(out), err))
    different = [
        f"{line}:\n  docker {theirs}\n  darse  {ours}"
        for line, theirs, ours in zip(_SESSION, said["docker"], said["darse"], strict=True)
        if theirs != ours
    ]
    assert not different, f"{len(different)} of {len(_SESSION)}:\n" + "\n".join(different)


def _without_raw(text: str) -> str:
    """Output whose own name for the client is the same in both cases, but not in base64."""
    return "\n".join(line for line in text.splitlines() if '"Raw":' not in line)


@needs_docker
def test_a_list_is_shared_with_docker(registry: Registry, tmp_path: Path) -> None:
    program = docker_program()
    assert program
    docker, darse = Client(program, _NOWHERE, tmp_path), Client(str(BIN / "darse"), _NOWHERE, tmp_path)
    name = f"{registry.address}/darse/both:1"
    docker("manifest", "create", "--insecure", name, f"{registry.address}/darse/app:amd64").ok()
    darse("manifest", "create", "--amend", name, f"{registry.address}/darse/app:arm64").ok()
    docker("manifest", "annotate", name, f"{registry.address}/darse/app:arm64", "--variant", "v9").ok()
    shown = json.loads(darse("manifest", "inspect", name).ok().out)
    assert [one["platform"] for one in shown["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v9"},
    ]
    digest = darse("manifest", "push", name).ok().out.splitlines()[-1]
    assert docker("manifest", "push", "--insecure", name).ok().out.splitlines()[-1] == digest


def test_a_manifest_keeps_its_bytes(registry: Registry, tmp_path: Path) -> None:
    """A manifest that is written in its own way arrives in another repository with its digest."""
    darse = Client(str(BIN / "darse"), _NOWHERE, tmp_path)
    image = made("386", indent=None).document
    name = f"{registry.address}/darse/elsewhere:1"
    darse("manifest", "create", name, f"{registry.address}/darse/other:odd").ok()
    out = darse("manifest", "push", name).ok().out
    assert f"Pushed ref {registry.address}/darse/elsewhere@{image.digest} with digest: {image.digest}" in out
    assert darse("manifest", "inspect", f"{registry.address}/darse/elsewhere@{image.digest}").ok()


def test_a_private_registry_gets_the_users_credentials(tmp_path: Path) -> None:
    with Registry(users={"me": "secret"}) as registry:
        darse = Client(str(BIN / "darse"), _NOWHERE, tmp_path)
        wanted = f"{registry.address}/a:1"
        assert "no basic auth credentials" in darse("manifest", "inspect", wanted).err
        auth = {"auths": {registry.address: {"username": "me", "password": "secret"}}}
        (tmp_path / "config.json").write_text(json.dumps(auth))
        assert darse("manifest", "inspect", wanted).err == f"no such manifest: {wanted}\n"


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "manifests" / "docker.io_library_x-1"
    directory.mkdir(parents=True)
    for text in ("{", "[]", '{"Ref": 1}', '{"Ref": "x", "Descriptor": {}}'):
        (directory / "image").write_text(text)
        done = Client(str(BIN / "darse"), _NOWHERE, tmp_path)("manifest", "inspect", "x:1")
        assert done.status == 1
        assert f"cannot read {directory / 'image'}" in done.err
