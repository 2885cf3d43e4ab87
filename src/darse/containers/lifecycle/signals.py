"""Signals by their names, and what they mean for a container's life.

Names are those of signal(7), with or without `SIG`. A signal that asks a container to end also says that no restart
policy may bring it back (`asks_to_end`).
"""

from __future__ import annotations

import signal

from darse.core.errors import InvalidParameter
from darse.wire.containers import ContainerConfig

_ENDING = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


def parse_signal(text: str) -> int:
    """Return a signal's number from `9`, `KILL`, `SIGKILL` or `RTMIN+3`. Raises InvalidParameter."""
    name = text.upper().removeprefix("SIG")
    if text.isascii() and text.isdigit():
        number = int(text)
        if 0 < number <= signal.SIGRTMAX:
            return number
        raise InvalidParameter(f"invalid signal: {text}")
    for base, sign in (("RTMIN+", 1), ("RTMAX-", -1)):
        rest = name.removeprefix(base)
        if rest != name and rest.isascii() and rest.isdigit():
            number = (signal.SIGRTMIN if sign > 0 else signal.SIGRTMAX) + sign * int(rest)
            if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
                return number
    try:
        return signal.Signals[f"SIG{name}"]
    except KeyError:
        raise InvalidParameter(f"invalid signal: {text}") from None


def stop_signal(config: ContainerConfig) -> int:
    """The signal that asks a container to end."""
    return parse_signal(config.StopSignal or "SIGTERM")


def asks_to_end(number: int, config: ContainerConfig) -> bool:
    """Whether who sends this signal wants the container to end, so that no restart policy may bring it back."""
    return number in _ENDING or number == stop_signal(config)
