"""crun and runc as programs: what the engine does itself, and what it leaves to their command line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from darse.core.errors import SystemFault
from darse.linux.net.netns import CONTAINER_SYSCTLS
from darse.runtime.oci import OCIRuntime
from darse.runtime.oci.program import Crun, Runc, oci_runtime
from darse.runtime.oci.spec import SharedNamespaces, SpecInputs, build_spec
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig
from tests.unit.runtime.facts import facts

ID = "c" * 64


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[int]:
    """A fifo, open for writing: the program of `slow` ends when a line is written to it."""
    os.mkfifo(tmp_path / "gate")
    descriptor = os.open(tmp_path / "gate", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def slow(tmp_path: Path, name: str) -> OCIRuntime:
    program = tmp_path / name
    program.write_text(f'#!/bin/sh\nread line < {tmp_path}/gate\necho "$@" > {tmp_path}/called\n')
    program.chmod(0o755)
    runtime = oci_runtime(name, str(program), tmp_path / "state")
    runtime.state_directory(ID).mkdir(parents=True)
    return runtime


def test_the_kind_goes_by_the_program_whatever_its_name_is(tmp_path: Path) -> None:
    assert isinstance(oci_runtime("fast", "/usr/bin/crun", tmp_path), Crun)
    assert isinstance(oci_runtime("crun", "/usr/bin/kata-runtime", tmp_path), Runc)


def test_a_command_begins_with_the_global_options(tmp_path: Path) -> None:
    runtime = oci_runtime("runc", "/usr/bin/runc", tmp_path, ["--debug"])
    assert runtime.command("start", ID) == ("/usr/bin/runc", f"--root={tmp_path}", "--debug", "start", ID)


@pytest.mark.parametrize(
    ("name", "namespaces", "set_up"),
    [
        ("crun", SharedNamespaces(network="/proc/7/fd/3"), True),
        ("crun", SharedNamespaces(network="/proc/7/fd/3", user="/proc/7/fd/4"), False),
        ("crun", SharedNamespaces(network=""), False),
        ("crun", SharedNamespaces(network=None), False),
        ("kata-runtime", SharedNamespaces(network=""), False),
    ],
)
def test_crun_does_not_set_what_the_engine_has_set_in_a_network_namespace(
    tmp_path: Path, name: str, namespaces: SharedNamespaces, set_up: bool
) -> None:
    """Through the host's /proc, as crun does it, that takes longer with each namespace in which it was done."""
    config, host = ContainerConfig(Cmd=["true"]), HostConfig(Sysctls={"net.ipv4.ip_forward": "0"})
    inputs = SpecInputs(config, host, facts(), "/rootfs", "c0ffee", "/darse/c0ffee", namespaces, [])
    adapted = oci_runtime(name, f"/usr/bin/{name}", tmp_path).adapt_spec(inputs, tmp_path)
    sysctls = build_spec(adapted)["linux"]["sysctl"]
    own = namespaces.network is not None
    assert ("net.ipv4.ip_unprivileged_port_start" in sysctls) is (own and not set_up)
    assert ("net.ipv4.ping_group_range" in sysctls) is (own and not set_up)
    assert sysctls["net.ipv4.ip_forward"] == "0"


def test_the_engine_sets_in_a_network_namespace_what_a_runtime_would() -> None:
    inputs = SpecInputs(
        ContainerConfig(Cmd=["true"]), HostConfig(), facts(), "/rootfs", "c0ffee", "/c0ffee", SharedNamespaces(), []
    )
    asked = build_spec(inputs)["linux"]["sysctl"]
    assert {name.replace("/", "."): value for name, value in CONTAINER_SYSCTLS.items()} == asked


@pytest.mark.parametrize("name", ["runc", "crun"])
async def test_a_start_by_the_program_does_not_block_the_loop(tmp_path: Path, gate: int, name: str) -> None:
    runtime = slow(tmp_path, name)
    if name == "crun":
        os.mkfifo(runtime.state_directory(ID) / "exec.fifo")  # nobody reads there yet: crun's own `start` waits for it
    start = asyncio.ensure_future(runtime.start(ID))
    await asyncio.sleep(0)
    # The program runs, and cannot end before this very loop lets it.
    async with asyncio.timeout(10):
        os.write(gate, b"\n")
        await start
    assert (tmp_path / "called").read_text().split() == [f"--root={runtime.root}", "start", ID]


async def test_crun_lets_go_of_a_process_that_waits_at_its_fifo(tmp_path: Path) -> None:
    runtime = oci_runtime("crun", "/nonexistent/crun", tmp_path)
    runtime.state_directory(ID).mkdir()
    fifo = runtime.state_directory(ID) / "exec.fifo"
    os.mkfifo(fifo)
    assert runtime.is_created(ID)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await runtime.start(ID)
        assert os.read(reader, 10) == b"0"
    finally:
        os.close(reader)
    assert not runtime.is_created(ID)


async def test_a_start_that_fails_says_what_the_program_printed(tmp_path: Path) -> None:
    program = tmp_path / "runc"
    program.write_text("#!/bin/sh\necho no such container >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(SystemFault, match=r"^runc start: no such container$"):
        await oci_runtime("runc", str(program), tmp_path).start(ID)


def test_the_state_of_a_container_is_deleted_once(tmp_path: Path) -> None:
    runtime = oci_runtime("runc", "/usr/bin/runc", tmp_path)
    (runtime.state_directory(ID) / "below").mkdir(parents=True)
    runtime.delete_state(ID)
    runtime.delete_state(ID)
    assert not runtime.state_directory(ID).exists()
