"""Detach keys: a sequence such as `ctrl-p,ctrl-q` in a terminal's input that lets go of the process.

The engine and the command read them alike: the engine detaches, and the command must know that it did.
"""

from __future__ import annotations

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31} | {chr(97 + index): index + 1 for index in range(26)}


class InvalidKeys(ValueError):
    """A text that is no sequence; its text is moby's."""


def parse(text: str) -> bytes:
    """Return the bytes of a sequence like `ctrl-p,ctrl-q` or `a,b`. Raises InvalidKeys."""
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1 and ord(key) < 128:
            keys.append(ord(key))
        elif key.startswith("ctrl-") and key[5:] in _CONTROL:
            keys.append(_CONTROL[key[5:]])
        else:
            raise InvalidKeys(f"Invalid detach keys ({text}) provided: Unknown character: '{key}'")
    return bytes(keys)


class DetachKeys:
    """Watches input for the sequence; a start of it is held back until it is known to be none."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._matched = 0

    def filter(self, data: bytes) -> tuple[bytes, bool]:
        """Return what to pass on, and whether the sequence is complete; input after it is dropped."""
        passed = bytearray()
        for byte in data:
            if byte == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    self._matched = 0
                    return bytes(passed), True
                continue
            passed += self._sequence[: self._matched]
            self._matched = 0
            if byte == self._sequence[0]:
                self._matched = 1
                if len(self._sequence) == 1:
                    return bytes(passed), True
            else:
                passed.append(byte)
        return bytes(passed), False
