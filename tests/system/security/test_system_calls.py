"""The default filter as a container meets it: programs of one system call each."""

from __future__ import annotations

import io
import platform
import tarfile
from errno import EAFNOSUPPORT, EBADF, EINVAL, ENOMEM, ENOSYS, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.system_calls import call32, call64

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the programs are for x86-64")
_ANY = frozenset(range(256))
_LET_THROUGH = _ANY - {EPERM}
# What a kernel says to a family that it has, or has not, once the filter let the call pass.
_SOCKET = frozenset({0, EAFNOSUPPORT, EINVAL, EPROTONOSUPPORT, ESOCKTNOSUPPORT})
_STREAM, _DATAGRAM, _SEQUENCED = 1, 2, 5
_REFUSED = frozenset({EPERM})

CALLS_64 = {
    "socket-inet": ((41, 2, _STREAM, 0), frozenset({0})),
    "socket-alg": ((41, 38, _SEQUENCED, 0), _REFUSED),
    "socket-vsock": ((41, 40, _STREAM, 0), _REFUSED),
    "socket-vsock-high-bits": ((41, 1 << 32 | 40, _STREAM, 0), _REFUSED),
    "socket-decnet": ((41, 12, _STREAM, 0), _REFUSED),
    "socket-beyond": ((41, 46, _STREAM, 0), _REFUSED),
    "socket-smc": ((41, 43, _STREAM, 0), _SOCKET),
    "mbind": ((237, 0, 0, 0, 0, 0, 0), _REFUSED),
    "set_mempolicy": ((238, 0, 0, 0), _REFUSED),
    "get_mempolicy": ((239, 0, 0, 0, 0, 0), _REFUSED),
    "set_mempolicy_home_node": ((450, 0, 0, 0, 0), _REFUSED),
    "vmsplice": ((278, -1, 0, 0, 0), frozenset({EBADF})),
    "io_pgetevents": ((333, 0, 0, 0, 0, 0, 0), frozenset({EINVAL})),
    "memfd_secret": ((447, -1), _LET_THROUGH),
    "futex_waitv": ((449, 0, 0, 1, 0, 0), frozenset({EINVAL})),
    "cachestat": ((451, -1, 0, 0, 0), _LET_THROUGH),
    "fchmodat2": ((452, -1, 0, 0, -1), _LET_THROUGH),
    "map_shadow_stack": ((453, 0, 0, -1), _LET_THROUGH),
    "futex_wake": ((454, 0, 0, 0, -1), _LET_THROUGH),
    "statmount": ((457, 0, 0, 0, -1), _LET_THROUGH),
    "listmount": ((458, 0, 0, 0, -1), _LET_THROUGH),
    "lsm_get_self_attr": ((459, 0, 0, 0, -1), frozenset({EPERM, ENOSYS})),
    "mseal": ((462, 1, 0, -1), _LET_THROUGH),
    "getxattrat": ((464, -1, 0, -1, 0, 0, 0), _LET_THROUGH),
    "keyctl": ((250, 0, 0, 0, 0), _REFUSED),
    "io_uring_setup": ((425, 1, 0), _REFUSED),
    "userfaultfd": ((323, 0), _REFUSED),
    "unshare": ((272, 0x10000000), _REFUSED),
}
CALLS_32 = {
    "old-socketcall-vsock": ((102, 1, (40, _STREAM, 0)), _REFUSED),
    "old-socketcall-alg": ((102, 1, (38, _SEQUENCED, 0)), _REFUSED),
    "old-socketcall-inet": ((102, 1, (2, _DATAGRAM, 0)), _REFUSED),
    "old-socket-vsock": ((359, 40, _STREAM, 0), _REFUSED),
    "old-socket-alg": ((359, 38, _SEQUENCED, 0), _REFUSED),
    "old-socket-inet": ((359, 2, _DATAGRAM, 0), frozenset({0})),
    "old-getpid": ((20,), frozenset({0})),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("calls")
    for name, (call, _) in CALLS_64.items():
        call64(directory / name, *call)
    for name, (call, _) in CALLS_32.items():
        call32(directory / name, *call)
    return directory


def outcomes(engine: Engine, programs: Path, *options: str) -> dict[str, int]:
    script = 'for call in /calls/*; do "$call"; echo "${call##*/} $?"; done'
    done = engine.docker("run", "--rm", "-v", f"{programs}:/calls:ro", *options, BUSYBOX, "sh", "-c", script).ok()
    return {name: int(status) for name, status in (line.split() for line in done.out.splitlines())}


def test_each_call_by_default(engine: Engine, programs: Path) -> None:
    """Twice: the second container has the filter that was made shorter."""
    expected = {name: allowed for name, (_, allowed) in {**CALLS_64, **CALLS_32}.items()}
    for _ in range(2):
        found = outcomes(engine, programs)
        assert found.keys() == expected.keys()
        assert {name: status for name, status in found.items() if status not in expected[name]} == {}


def test_capabilities_open_memory_policies(engine: Engine, programs: Path) -> None:
    found = outcomes(engine, programs, "--cap-add", "SYS_NICE")
    assert EPERM not in {found[name] for name in ("mbind", "set_mempolicy", "get_mempolicy", "set_mempolicy_home_node")}
    assert found["socket-vsock"] == EPERM


def test_runc_makes_the_same_filter(engine: Engine, programs: Path) -> None:
    assert outcomes(engine, programs, "--runtime", "runc") == outcomes(engine, programs)


def test_images_for_32_bit_machines_have_their_only_way_to_sockets(engine: Engine, programs: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(programs / "old-socketcall-inet", "/call")
    engine.docker("import", "--platform", "linux/386", "-", "old", input=archive.getvalue()).ok()
    assert engine.docker("run", "--rm", "--platform", "linux/386", "old", "/call").status == 0
    engine.docker("rmi", "old").ok()


def test_without_a_filter_the_programs_reach_the_kernel(engine: Engine, programs: Path) -> None:
    """So that what was refused above was refused by the filter."""
    found = outcomes(engine, programs, "--security-opt", "seccomp=unconfined")
    names = (
        "socket-vsock",
        "socket-vsock-high-bits",
        "socket-alg",
        "old-socketcall-vsock",
        "old-socketcall-alg",
        "mbind",
    )
    assert EPERM not in {found[name] for name in (*names, "mbind")}
    assert found["old-getpid"] == 0
    assert found["mseal"] in (EINVAL, ENOSYS, ENOMEM)
