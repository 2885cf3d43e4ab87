"""The host's resolv.conf is followed, whatever is done to it."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path

import pytest

from darse.resolver.host_servers import HostServers, nameservers

SECONDS = 1.0


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "run" / "resolve").mkdir(parents=True)
    return tmp_path / "etc"


def after(host: HostServers, change: Callable[[], object]) -> list[str]:
    """The servers after a change, which has to be noticed within a second."""
    change()
    while select.select([host.descriptor], [], [], SECONDS)[0]:
        if host.changed():
            return host.servers
    raise AssertionError("the change was not noticed")


def replace(path: Path, text: str) -> Callable[[], object]:
    def change() -> None:
        new = path.with_name(f"{path.name}.new")
        new.write_text(text)
        new.rename(path)

    return change


def swap(path: Path, target: str) -> Callable[[], object]:
    def change() -> None:
        new = path.with_name(f"{path.name}.link")
        new.symlink_to(target)
        new.rename(path)

    return change


def test_all_that_is_done_to_it(etc: Path) -> None:
    path, stub = etc / "resolv.conf", etc.parent / "run/resolve/stub"
    path.write_text("nameserver 10.0.0.1\n")
    host = HostServers(str(path))
    assert host.servers == ["10.0.0.1"]
    assert after(host, lambda: path.write_text("nameserver 10.0.0.2\nnameserver 10.0.0.3\n")) == [
        "10.0.0.2",
        "10.0.0.3",
    ]
    assert after(host, replace(path, "nameserver 10.0.0.4\n")) == ["10.0.0.4"]
    assert after(host, lambda: path.write_text("")) == []
    assert after(host, replace(path, "nameserver fe80::1%lo\n")) == ["fe80::1%lo"]
    assert after(host, path.unlink) == []
    stub.write_text("nameserver 127.0.0.53\n")
    assert after(host, swap(path, "../run/resolve/stub")) == ["127.0.0.53"]
    assert after(host, replace(stub, "nameserver 10.0.0.5\n")) == ["10.0.0.5"]
    assert after(host, lambda: stub.write_text("nameserver 10.0.0.6\n")) == ["10.0.0.6"]
    (etc / "other").write_text("nameserver 10.0.0.7\n")
    assert after(host, swap(path, "other")) == ["10.0.0.7"]
    host.close()


def test_a_link_to_what_is_not_there_yet(etc: Path) -> None:
    path, directory = etc / "resolv.conf", etc.parent / "run/network"
    path.symlink_to(directory / "resolv.conf")
    host = HostServers(str(path))
    assert host.servers == []

    def appear() -> None:
        directory.mkdir()
        assert select.select([host.descriptor], [], [], SECONDS)[0]
        host.changed()
        (directory / "resolv.conf").write_text("nameserver 10.0.0.8\n")

    assert after(host, appear) == ["10.0.0.8"]
    host.close()


def test_a_chain_of_links_and_one_that_leads_round(etc: Path) -> None:
    path = etc / "resolv.conf"
    (etc / "a").symlink_to("b")
    (etc / "b").write_text("nameserver 10.0.0.9\n")
    path.symlink_to("a")
    host = HostServers(str(path))
    assert host.servers == ["10.0.0.9"]
    (etc / "c").write_text("nameserver 10.0.0.10\n")
    assert after(host, swap(etc / "a", "c")) == ["10.0.0.10"]
    assert after(host, swap(etc / "a", "resolv.conf")) == []
    assert after(host, swap(path, "b")) == ["10.0.0.9"]
    host.close()


def test_other_files_beside_it_change_nothing(etc: Path) -> None:
    path = etc / "resolv.conf"
    path.write_text("nameserver 10.0.0.1\n")
    host = HostServers(str(path))
    (etc / "passwd").write_text("root\n")
    assert select.select([host.descriptor], [], [], SECONDS)[0]
    assert not host.changed()
    host.close()


def test_a_fifo_in_its_place_keeps_nobody(etc: Path) -> None:
    os.mkfifo(etc / "resolv.conf")
    assert HostServers(str(etc / "resolv.conf")).servers == []


def test_what_is_a_nameserver_line() -> None:
    comments = "# nameserver 1.1.1.1\n;nameserver 2.2.2.2\n"
    assert nameservers(f"{comments} nameserver\t3.3.3.3 # x\nnameserver\nsearch a\nNAMESERVER 4.4.4.4\n") == ["3.3.3.3"]
