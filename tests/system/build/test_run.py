"""RUN: real processes, their mounts, what they leave, and how they end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.builds import Builder

from darse.build.errors import BuildError
from darse.build.executor import StepLimits
from darse.build.solver import OutcomeKind, SolveError

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_what_a_process_leaves_is_a_layer_of_the_image(builder: Builder) -> None:
    text = 'FROM builtin/busybox\nRUN echo hello >/file && echo told\nCMD ["cat", "/file"]\n'
    built = await builder.build(text, names=("one",))
    assert built.log == b"told\n"
    assert builder.read(built.image, "file") == b"hello\n"
    assert sorted(path.name for path in builder.layer(built.image).iterdir()) == ["file"]
    assert built.image.config.config.Cmd == ["cat", "/file"]
    assert builder.engine.images.get_image("one").id == built.image.id
    assert [line.empty_layer for line in built.image.config.history][-2:] == [False, True]


async def test_a_process_that_fails_says_so_as_docker_does(builder: Builder) -> None:
    with pytest.raises(SolveError, match='process "/bin/sh -c exit 3" did not complete successfully: exit code: 3'):
        await builder.build("FROM builtin/busybox\nRUN exit 3\n")


async def test_a_command_that_is_not_there_is_named(builder: Builder) -> None:
    with pytest.raises(SolveError, match='exec: "nothing": executable file not found'):
        await builder.build('FROM builtin/busybox\nRUN ["nothing"]\n')


async def test_steps_stand_on_each_other_and_are_cached(builder: Builder) -> None:
    text = "FROM builtin/busybox\nRUN echo 1 >/a\nRUN cat /a /a >/b && rm /a\n"
    first = await builder.build(text)
    assert builder.read(first.image, "b") == b"1\n1\n"
    again = await builder.build(text)
    assert [one.kind for one in again.outcomes.values()] == [OutcomeKind.CACHED] * len(again.outcomes)
    assert [layer.diff_id for layer in again.image.layers] == [layer.diff_id for layer in first.image.layers]


async def test_a_process_has_what_its_container_gives_it(builder: Builder) -> None:
    text = (
        "FROM builtin/busybox\nENV SHOWN=yes\nWORKDIR /work\n"
        "RUN pwd; hostname; echo $SHOWN $HOME; cat /proc/1/comm; id -u; "
        "grep Seccomp: /proc/self/status; "
        "ip -o -4 address show eth0 | wc -l; test -s /etc/resolv.conf && echo resolves; grep -c localhost /etc/hosts\n"
    )
    log = (await builder.build(text)).log.decode().split("\n")
    assert log[:9] == ["/work", "buildkitsandbox", "yes /root", "sh", "0", "Seccomp:\t2", "1", "resolves", "2"]


async def test_networks_are_those_that_are_asked_for(builder: Builder) -> None:
    text = "FROM builtin/busybox\nRUN --network=none ls /sys/class/net\nRUN --network=host ls /sys/class/net | sort\n"
    log = (await builder.build(text)).log.decode().split()
    assert log[0] == "lo"
    assert "lo" in log[1:]
    assert len(log) > 3


async def test_extra_hosts_and_limits_reach_the_process(builder: Builder) -> None:
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    text = f"FROM builtin/busybox\nRUN grep other /etc/hosts; cat {files}; true\n"
    session = {"resources": StepLimits(memory=64 << 20)}
    built = await builder.build(text, session=session, extra_hosts=(("other", "192.0.2.7"),))
    assert b"192.0.2.7\tother" in built.log
    assert b"67108864" in built.log


async def test_a_secret_is_in_the_process_and_nowhere_else(builder: Builder) -> None:
    text = (
        "FROM builtin/busybox\n"
        "RUN --mount=type=secret,id=token,mode=0440,uid=7 --mount=type=secret,id=token,env=TOKEN "
        "cat /run/secrets/token; stat -c ' %u %a' /run/secrets/token; echo $TOKEN | md5sum >/sum\n"
    )
    built = await builder.build(text, session={"secrets": {"token": b"hush-4711"}})
    assert built.log == b"hush-4711 7 440\n"
    assert sorted(path.name for path in builder.layer(built.image).iterdir()) == ["sum"]
    with pytest.raises(SolveError, match="secret other: not found"):
        await builder.build("FROM builtin/busybox\nRUN --mount=type=secret,id=other,required=true true\n")


async def test_a_cache_mount_outlives_the_build_and_is_in_no_layer(builder: Builder) -> None:
    text = "FROM builtin/busybox\nRUN --mount=type=cache,target=/cache echo {0} >>/cache/log; cp /cache/log /log\n"
    await builder.build(text.format(1))
    built = await builder.build(text.format(2))
    assert builder.read(built.image, "log") == b"1\n2\n"
    assert sorted(path.name for path in builder.layer(built.image).iterdir()) == ["log"]


async def test_a_cache_mount_begins_with_its_owner_and_with_what_it_is_from(builder: Builder) -> None:
    text = (
        "FROM builtin/busybox AS other\nRUN mkdir /begin && echo 1 >/begin/one\n"
        "FROM builtin/busybox\nRUN --mount=type=cache,target=/a,uid=5,gid=6,mode=0750 stat -c '%u %g %a' /a\n"
        "RUN --mount=type=cache,target=/b,from=other,source=/begin cat /b/one\n"
    )
    assert (await builder.build(text)).log == b"5 6 750\n1\n"


async def test_binds_are_other_trees_and_what_is_written_to_them_is_dropped(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("context\n")
    text = (
        "FROM builtin/busybox AS other\nRUN mkdir -p /d/e && echo deep >/d/e/f && ln -s /d/e /link\n"
        "FROM builtin/busybox\n"
        "RUN --mount=from=other,source=/link,target=/x cat /x/f; touch /x/y 2>/dev/null || echo refused\n"
        "RUN --mount=target=/c,rw cat /c/file; echo more >>/c/file; tail -n1 /c/file; echo made >/made\n"
    )
    built = await builder.build(text, tmp_path)
    assert built.log == b"deep\nrefused\ncontext\nmore\n"
    assert sorted(path.name for path in builder.layer(built.image).iterdir()) == ["made"]
    assert (tmp_path / "file").read_text() == "context\n"


async def test_memory_is_mounted_with_its_size(builder: Builder) -> None:
    text = "FROM builtin/busybox\nRUN --mount=type=tmpfs,target=/m,size=2m df -k /m | tail -n1 | awk '{print $2}'\n"
    assert (await builder.build(text)).log == b"2048\n"


async def test_insecure_processes_need_the_clients_word(builder: Builder) -> None:
    text = "FROM builtin/busybox\nRUN --security=insecure mkdir /t && mount -t tmpfs none /t && echo mounted\n"
    with pytest.raises(SolveError, match=r"security\.insecure is required"):
        await builder.build(text)
    assert (await builder.build(text, session={"may_be_insecure": True})).log == b"mounted\n"


async def test_a_cancelled_build_ends_its_processes_at_once(builder: Builder) -> None:
    work = asyncio.create_task(builder.build("FROM builtin/busybox\nRUN echo begun; sleep 1000\n"))
    while b"begun" not in builder.log:
        assert not work.done()
        await asyncio.sleep(0.01)
    begin = asyncio.get_running_loop().time()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert asyncio.get_running_loop().time() - begin < 2
    dependencies = builder.engine.dependencies
    assert not dependencies.monitor.running().keys() & set(dependencies.files.bundles.iterdir())
    assert not [path for path in dependencies.files.bundles.iterdir() if path.name.startswith("transient-")]
    assert not list((builder.engine.config.data_root / "snapshots-active").iterdir())


async def test_many_processes_end_with_their_build(builder: Builder) -> None:
    text = "FROM builtin/busybox\nRUN for i in $(seq 200); do sleep 1000 & done; setsid sleep 1001 & echo begun; wait\n"
    work = asyncio.create_task(builder.build(text))
    while b"begun" not in builder.log:
        assert not work.done()
        await asyncio.sleep(0.01)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    parent = builder.engine.config.cgroup_parent.strip("/")
    assert not builder.engine.cgroups.processes(f"/{parent}")


async def test_an_agent_is_a_socket_of_the_process_alone(builder: Builder, tmp_path: Path) -> None:
    class Agents:
        def has(self, agent: str) -> bool:
            return agent == "default"

        async def connect(self, agent: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            assert agent == "default"
            return await asyncio.open_unix_connection(tmp_path / "agent")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    text = "FROM builtin/busybox\nRUN --mount=type=ssh stat -c %a $SSH_AUTH_SOCK\n"
    async with await asyncio.start_unix_server(answer, tmp_path / "agent"):
        built = await builder.build(text, session={"agents": Agents()})
    assert built.log == b"600\n"
    assert not list(builder.layer(built.image).iterdir())
    with pytest.raises(SolveError, match='no SSH key "default" forwarded'):
        await builder.build("FROM builtin/busybox\nRUN --mount=type=ssh,required=true true\n")


async def test_a_target_that_is_a_link_leads_nowhere_on_the_host(builder: Builder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    text = (
        f"FROM builtin/busybox\nRUN mkdir /in && ln -s {outside} /in/link && ln -s ../../../../../../.. /in/up\n"
        "RUN --mount=type=cache,target=/in/up/made echo 1 >/made/file && rmdir /nothing 2>/dev/null; ls /made\n"
    )
    assert (await builder.build(text)).log == b"file\n"
    with pytest.raises(SolveError):
        await builder.build(f"{text}RUN --mount=type=tmpfs,target=/in/link/made echo 1 >/in/link/made/file\n")
    assert not list(outside.iterdir())


async def test_a_client_without_contexts_is_told(builder: Builder) -> None:
    with pytest.raises(BuildError, match="no local source 'context'"):
        await builder.build("FROM builtin/busybox\nCOPY a /a\n")
