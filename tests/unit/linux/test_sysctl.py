"""Parameters of network namespaces, through an instance of procfs of our own."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from darse.linux import sysctl
from darse.linux.libc import call
from darse.linux.sysctl import NamespaceParameters

_CLONE_NEWNET = 0x40000000
_LIFE = "net/ipv4/ip_default_ttl"


@pytest.fixture
def parameters() -> Iterator[NamespaceParameters]:
    parameters = NamespaceParameters()
    yield parameters
    parameters.close()


def _in_new_namespace(function: Callable[[], None]) -> None:
    """Call a function in a thread that ends with its namespace."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            call("unshare", _CLONE_NEWNET)
            function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    for one in failures:
        raise one


def test_a_parameter_is_that_of_the_thread_s_namespace(parameters: NamespaceParameters) -> None:
    before, seen = sysctl.read(_LIFE), []

    def change() -> None:
        parameters.write(_LIFE, "33")
        seen.append(sysctl.read(_LIFE))

    _in_new_namespace(change)
    assert seen == ["33"]
    assert sysctl.read(_LIFE) == before


def test_one_instance_serves_many_namespaces_and_is_changed_now_and_then(
    parameters: NamespaceParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    real = sysctl._instance_of_procfs

    def counted() -> int:
        made.append(real())
        return made[-1]

    monkeypatch.setattr(sysctl, "_instance_of_procfs", counted)
    for _ in range(sysctl._WRITES_OF_AN_INSTANCE):
        _in_new_namespace(lambda: parameters.write(_LIFE, "33"))
    assert len(made) == 1
    assert os.fstat(made[0]).st_dev != os.stat("/proc").st_dev
    _in_new_namespace(lambda: parameters.write(_LIFE, "33"))
    assert len(made) == 2


def test_a_kernel_that_has_no_other_instance_gives_the_host_s(
    parameters: NamespaceParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, *arguments: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    before = sysctl.read(_LIFE)

    def change() -> None:
        monkeypatch.setattr(sysctl, "call", refuse)
        parameters.write(_LIFE, "33")
        assert sysctl.read(_LIFE) == "33"

    _in_new_namespace(change)
    assert sysctl.read(_LIFE) == before


def test_what_the_kernel_does_not_have_is_not_found(parameters: NamespaceParameters) -> None:
    with pytest.raises(FileNotFoundError):
        _in_new_namespace(lambda: parameters.write("net/ipv4/no_such_parameter", "1"))
