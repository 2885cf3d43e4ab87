"""nftables through libnftables, in process: a transaction takes a fifth of a millisecond, a spawned `nft` ten.

Each `run()` is one transaction: all of it happens or none. See libnftables(3), nft(8).

The library waits for its socket by select(2), which ends the whole process for a descriptor of 1024 or more. A process
that has thousands of published ports or containers has no others left; so some are reserved before it has.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Iterable
from typing import Any, Final

from darse.core import trace
from darse.core.errors import SystemFault
from darse.linux.net.sockets import copy_of_socket

_SELECTABLE: Final = 1024
_NETLINK_NETFILTER: Final = 12
_RESERVED: Final = 4
# Another thread may take a descriptor just before the library does.
_ATTEMPTS: Final = 50
_contexts = threading.Lock()
#: Descriptors that select(2) takes, of nothing.
_reserve: list[int] = []


class NftError(SystemFault):
    """The kernel or the library refused a transaction."""


class Nftables:
    """A context of the library; use it from one thread."""

    def __init__(self) -> None:
        """Raises SystemFault when the library is not installed."""
        self._library = _load()
        self._context, self._socket = _new_context(self._library)
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
                message: bytes = self._library.nft_ctx_get_error_buffer(self._context)
                raise NftError(f"nftables: {message.decode(errors='replace').strip()}")
        return output.decode()

    def table_exists(self, family: str, name: str) -> bool:
        """Whether there is such a table."""
        heading = f"table {family} {name}"
        return heading in self.run("list tables").splitlines()

    def address(self) -> int:
        """The netlink address of the library's requests, as notices of changes have it.

        The kernel gives the socket its address with the first request.
        """
        self.run("list tables")
        with copy_of_socket(self._socket) as opened:
            address: int = opened.getsockname()[0]
            return address

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
        context, _ = _new_context(library)
        try:
            library.nft_ctx_buffer_error(context)
            if library.nft_run_cmd_from_buffer(context, os.fsencode(commands)) != 0:
                reported: bytes = library.nft_ctx_get_error_buffer(context)
                raise NftError(f"nftables: {reported.decode(errors='replace').strip()}")
        finally:
            library.nft_ctx_free(context)
            with _contexts:
                _fill_reserve()


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise SystemFault(f"libnftables is missing: install the package libnftables1 ({error})") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    return library


def _new_context(library: ctypes.CDLL) -> tuple[ctypes.c_void_p, int]:
    """A context, and its socket's descriptor, which the library does not tell. Raises NftError."""
    with _contexts:
        _fill_reserve()
        for _ in range(_ATTEMPTS):
            number = _next_descriptor()
            if number >= _SELECTABLE:
                if not _reserve:
                    break
                number = _reserve.pop()
                os.close(number)
            context = ctypes.c_void_p(library.nft_ctx_new(0))
            if _is_netfilter_socket(number):
                return context, number
            library.nft_ctx_free(context)
            _fill_reserve()
    raise NftError(f"nftables: no descriptor below {_SELECTABLE} is free")


def _next_descriptor() -> int:
    """The number that the next descriptor gets: the lowest that is free."""
    number = os.open(os.devnull, os.O_PATH | os.O_CLOEXEC)
    os.close(number)
    return number


def _fill_reserve() -> None:
    while len(_reserve) < _RESERVED:
        number = os.open(os.devnull, os.O_PATH | os.O_CLOEXEC)
        if number >= _SELECTABLE:
            os.close(number)
            return
        _reserve.append(number)


def _is_netfilter_socket(number: int) -> bool:
    try:
        with copy_of_socket(number) as opened:
            return opened.family == socket.AF_NETLINK and opened.proto == _NETLINK_NETFILTER
    except OSError:
        return False
