"""Regular expressions that clients give, in RE2's syntax: https://github.com/google/re2/wiki/Syntax.

Docker's are Go's, which have the same syntax, and promise that a search takes time linear in the text. Python's own
engine backtracks: one filter of ten letters could hold the event loop for ever. What remains is the product of an
expression's size and its texts' lengths; `Budget` bounds it for a whole request.
"""

from __future__ import annotations

import time
from typing import Any, Final

from darse.re2_programs import InvalidExpression, program

__all__ = ["Budget", "CostlyExpression", "Expression", "InvalidExpression"]

# An expression as written, in bytes of UTF-8. A list of some two hundred names fits.
LONGEST: Final = 4096
# Bounds the compiled program, and its cache of states; below 1 MiB searches fall back to a method ten times slower.
_MEMORY: Final = 2 << 20
# Bounds the program of the first attempt. RE2 unrolls repetitions, and lays out the program in time that grows with the
# square of its size, which nothing can interrupt: 1.3 s for `(a|b){0,1000}` written twenty times. What fits here took
# 70 ms at the most, on a busy machine. Two hundred names fit, and `\pL{5}`.
_FIRST_MEMORY: Final = 100_000
# Instructions of the compiled program. `\pL` takes some 600.
_LARGEST: Final = 10_000
# Instructions times bytes of one text: some 90 ms at the slowest.
_COSTLIEST: Final = 10_000_000
# Seconds of processor time for the expressions of one request.
_ALLOWANCE: Final = 0.1


class CostlyExpression(ValueError):
    """The expression is one, but takes more memory or time than a client may have."""


class Budget:
    """The processor time that the expressions of one request may take together."""

    __slots__ = ("_left",)

    def __init__(self, seconds: float = _ALLOWANCE) -> None:
        self._left = seconds

    def spend(self, since: float) -> None:
        """Count the time from `since`, a reading of `time.thread_time`. Raises CostlyExpression when none is left."""
        self._left -= time.thread_time() - since
        if self._left < 0:
            raise CostlyExpression("the expressions take too long to search for: give simpler or fewer ones")


class Expression:
    """A compiled expression."""

    __slots__ = ("_budget", "_compiled")

    def __init__(self, text: str, budget: Budget | None = None) -> None:
        """Compile `text`. Raises InvalidExpression and CostlyExpression."""
        self._budget = budget or Budget()
        written = text.encode("utf-8", "surrogatepass")
        if len(written) > LONGEST:
            raise CostlyExpression(f"the expression is longer than {LONGEST} bytes")
        begun = time.thread_time()
        _bounded_program(written, _FIRST_MEMORY)
        # It is compiled once more, with room for states: as much time again has to be left.
        begun -= time.thread_time() - begun
        self._budget.spend(begun)
        self._compiled = _bounded_program(written, _MEMORY)
        if self._compiled.programsize > _LARGEST:
            raise CostlyExpression("the expression is too large: give a simpler one")

    def found_in(self, text: str) -> bool:
        """Whether the expression is found anywhere in `text`. Raises CostlyExpression."""
        searched = text.encode("utf-8", "surrogatepass")
        if self._compiled.programsize * len(searched) > _COSTLIEST:
            raise CostlyExpression("the expression is too large for so long a text: give a simpler one")
        begun = time.thread_time()
        found = self._compiled.search(searched) is not None
        self._budget.spend(begun)
        return found


def _bounded_program(written: bytes, memory: int) -> Any:
    """RE2's program of at most so many bytes. Raises InvalidExpression and CostlyExpression."""
    try:
        return program(written, max_mem=memory, never_capture=True)
    except InvalidExpression as error:
        # RE2's words for a program above max_mem, and for repetitions that multiply; the others are mistakes.
        if "too large" in str(error):
            raise CostlyExpression("the expression is too large: give a simpler one") from None
        raise
