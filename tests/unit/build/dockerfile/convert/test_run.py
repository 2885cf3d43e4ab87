"""RUN as a process with mounts."""

from __future__ import annotations

import pytest

from darse.build.dockerfile import DockerfileError
from darse.build.graph import (
    CacheMount,
    CacheSharing,
    ExecMount,
    FileOwner,
    MkdirAction,
    MkfileAction,
    MountKind,
    SecretEnvironment,
    SecretMount,
    SecurityMode,
)
from darse.build.graph.operations import DeviceRequirement
from tests.unit.build.dockerfile.convert.support import changes, converted, history, names, process


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("RUN a  b", ("/bin/sh", "-c", "a  b")),
        ('RUN ["a", "b"]', ("a", "b")),
        ('SHELL ["x", "-y"]\nRUN a', ("x", "-y", "a")),
        ("RUN <<E\na\nb\nE", ("/bin/sh", "-c", "a\nb\n")),
        ("RUN <<-E\n\ta\n\tE", ("/bin/sh", "-c", "a\n")),
        ("RUN cat <<E > x\na\nE", ("/bin/sh", "-c", "cat <<E > x\na\nE")),
        ("RUN <<A cat <<B\na\nA\nb\nB", ("/bin/sh", "-c", "<<A cat <<B\na\nA\nb\nB")),
        ("RUN <<E\n#!/bin/x\na\nE", ("/bin/sh", "-c", "/dev/pipes/E")),
    ],
)
async def test_arguments(text: str, arguments: tuple[str, ...]) -> None:
    assert process(await converted(f"FROM a\n{text}")).meta.arguments == arguments


async def test_a_heredoc_that_is_a_program() -> None:
    found = await converted("FROM a\nRUN <<E\n#!/bin/x\na\nE")
    assert changes(found) == [MkfileAction(path="/E", data=b"#!/bin/x\na\n", mode=0o755)]
    assert process(found).mounts[1] == ExecMount("/dev/pipes/", 1, read_only=True)
    assert names(found)[-1] == "[2/2] RUN <<E (#!/bin/x...)"


_MOUNTS = [
    ("target=/m,source=s", ExecMount("/m", 1, "/s", read_only=True)),
    ("target=m,source=../s,rw", ExecMount("/w/m", 1, "/s")),
    ("target=/m", ExecMount("/m", 1, read_only=True)),
    ("type=tmpfs,target=/m,size=5", ExecMount("/m", kind=MountKind.TMPFS, tmpfs_size=5)),
    ("type=cache,target=/m", ExecMount("/m", kind=MountKind.CACHE, cache=CacheMount("ns//m"))),
    (
        "type=cache,target=/m,id=i,sharing=locked,ro",
        ExecMount("/m", kind=MountKind.CACHE, read_only=True, cache=CacheMount("ns/i", CacheSharing.LOCKED)),
    ),
    (
        "type=cache,target=/m,from=other,source=/s",
        ExecMount("/m", 1, "/s", kind=MountKind.CACHE, cache=CacheMount("ns//m")),
    ),
    ("type=secret,id=s", ExecMount("/run/secrets/s", kind=MountKind.SECRET, secret=SecretMount("s", optional=True))),
    (
        "type=secret,id=a/s,target=/m,required,mode=0440,uid=1",
        ExecMount("/m", kind=MountKind.SECRET, secret=SecretMount("a/s", 1, 0, 0o440)),
    ),
    (
        "type=ssh,target=/m",
        ExecMount("/m", kind=MountKind.SSH, secret=SecretMount("default", mode=0o600, optional=True)),
    ),
]


@pytest.mark.parametrize(("mount", "expected"), _MOUNTS)
async def test_mounts(mount: str, expected: ExecMount) -> None:
    found = await converted(f"FROM a\nWORKDIR /w\nRUN --mount={mount} true", cache_namespace="ns")
    assert process(found).mounts == (ExecMount("/", 0, output=0), expected)


async def test_variables_in_mounts() -> None:
    found = await converted("FROM a\nARG M=/m\nRUN --mount=type=cache,target=$M,id=$M true")
    assert process(found).mounts[1].cache == CacheMount("//m")


async def test_an_owner_of_a_cache() -> None:
    found = await converted("FROM a\nRUN --mount=type=cache,target=/m,uid=1,mode=700 true")
    assert changes(found) == [MkdirAction(path="/cache", mode=0o700, owner=FileOwner(1, 0))]
    assert process(found).mounts[1].selector == "/cache"


async def test_secrets_as_variables_are_masked_and_in_no_history() -> None:
    found = await converted("FROM a\nRUN --mount=type=secret,id=s,env=TOKEN use $TOKEN")
    assert process(found).secrets == (SecretEnvironment("s", "TOKEN", True),)
    assert len(process(found).mounts) == 1
    assert names(found)[-1].endswith("use ****")
    both = process(await converted("FROM a\nRUN --mount=type=secret,id=s,env=,target=/m,required use"))
    assert both.secrets == (SecretEnvironment("s", "s"),)
    assert both.mounts[1].destination == "/m"
    assert history(found) == ["RUN /bin/sh -c use $TOKEN # buildkit"]


async def test_agents_have_a_variable() -> None:
    run = process(await converted("FROM a\nRUN --mount=type=ssh --mount=type=ssh,id=x true"))
    assert run.meta.environment[-1] == "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0"
    assert [mount.destination for mount in run.mounts[1:]] == ["/run/buildkit/ssh_agent.0", "/run/buildkit/ssh_agent.1"]


async def test_security_and_devices() -> None:
    run = process(await converted("FROM a\nRUN --security=insecure --device=v/c=d,required --device=e true"))
    assert run.security is SecurityMode.INSECURE
    assert run.devices == (DeviceRequirement("v/c=d"), DeviceRequirement("e", True))


@pytest.mark.parametrize(
    ("mount", "error"),
    [
        ("type=cache,target=/", 'invalid mount target "/"'),
        ("source=x", 'invalid mount target "/"'),
        ("type=ssh,source=x", "ssh does not support source"),
        ("type=$x,target=/m", 'unsupported mount type ""'),
    ],
)
async def test_refuses_mounts(mount: str, error: str) -> None:
    with pytest.raises(DockerfileError) as raised:
        await converted(f"FROM a\nRUN --mount={mount} true")
    assert str(raised.value) == error
    assert raised.value.lines == (2, 2)
