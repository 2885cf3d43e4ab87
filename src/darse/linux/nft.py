"""nftables through libnftables, in process: a transaction takes a fifth of a millisecond, a spawned `nft` ten.

Each `run()` is one transaction: all of it happens or none. See libnftables(3), nft(8).
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from darse.engine.errors import SystemFault
from darse.linux import trace


class NftError(SystemFault):
    """The kernel or the library refused a transaction."""


class Nftables:
    """A context of the library; use it from one thread."""

    def __init__(self) -> None:
        """Raises SystemFault when the library is not installed."""
        try:
            self._library = ctypes.CDLL("libnftables.so.1")
        except OSError as error:
            raise SystemFault(f"libnftables is missing: install the package libnftables1 ({error})") from error
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        self._library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """Do a transaction and return what it printed. Raises NftError with the library's words."""
        with trace.step("rule", commands.splitlines()[0][:80], "nft", commands):
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

    def close(self) -> None:
        """Free the context."""
        self._library.nft_ctx_free(self._context)
