"""nftables through libnftables, in process: a transaction takes a fifth of a millisecond, a spawned `nft` ten.

Each `run()` is one transaction: all of it happens or none. See libnftables(3), nft(8).
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterable
from typing import Any

from darse.core import trace
from darse.core.errors import SystemFault
from darse.linux.net.sockets import copy_of_socket


class NftError(SystemFault):
    """The kernel or the library refused a transaction."""


class Nftables:
    """A context of the library; use it from one thread."""

    def __init__(self) -> None:
        """Raises SystemFault when the library is not installed."""
        self._library = _load()
        before = _netlink_sockets()
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        self._sockets = _netlink_sockets() - before
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """Do a transaction and return what it printed. Raises NftError with the library's words."""
        # What has several lines is shown as a here-document.
        words = ("nft", "-f", "-") if "\n" in commands else ("nft",)
        with trace.step("rule", commands.splitlines()[0][:80], *words, commands):
            status: Any = self._library.nft_run_cmd_from_buffer(self._context, os.fsencode(commands))
            output: bytes = self._library.nft_ctx_get_output_buffer(self._context)
            if status != 0:
                said: bytes = self._library.nft_ctx_get_error_buffer(self._context)
                raise NftError(f"nftables: {said.decode(errors='replace').strip()}")
        return output.decode()

    def table_exists(self, family: str, name: str) -> bool:
        """Whether there is such a table."""
        wanted = f"table {family} {name}"
        return wanted in self.run("list tables").splitlines()

    def address(self) -> int:
        """The netlink address of the library's requests, as notices of changes have it; -1 when it is not known.

        The kernel gives the socket its address with the first request.
        """
        self.run("list tables")
        for descriptor in self._sockets:
            with copy_of_socket(descriptor) as opened:
                address: int = opened.getsockname()[0]
                return address
        return -1

    def close(self) -> None:
        """Free the context."""
        self._library.nft_ctx_free(self._context)


def grouped(commands: Iterable[str]) -> str:
    """Commands that add or delete elements, with those of one map or set made one: half the work for the library."""
    elements: dict[str, list[str]] = {}
    for command in commands:
        head, _, element = command.partition(" { ")
        elements.setdefault(head, []).append(element.removesuffix(" }"))
    return "\n".join(f"{head} {{ {', '.join(found)} }}" for head, found in elements.items())


def run_here(commands: str) -> None:
    """Do a transaction in the network namespace of the calling thread. Raises NftError, and SystemFault.

    The library's socket belongs to the namespace in which a context is made, so this makes one for the occasion.
    """
    library = _load()
    with trace.step("rule", "rules in the namespace", "ip", "netns", "exec", trace.NETNS, "nft", "-f", "-", commands):
        context = ctypes.c_void_p(library.nft_ctx_new(0))
        try:
            library.nft_ctx_buffer_error(context)
            if library.nft_run_cmd_from_buffer(context, os.fsencode(commands)) != 0:
                reported: bytes = library.nft_ctx_get_error_buffer(context)
                raise NftError(f"nftables: {reported.decode(errors='replace').strip()}")
        finally:
            library.nft_ctx_free(context)


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise SystemFault(f"libnftables is missing: install the package libnftables1 ({error})") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    return library


def _netlink_sockets() -> set[int]:
    """The descriptors of this process' netlink sockets (the library does not tell which is its own)."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with copy_of_socket(int(name)) as opened:
                if opened.family == socket.AF_NETLINK:
                    found.add(int(name))
        except OSError:
            continue  # The descriptor was closed meanwhile.
    return found
