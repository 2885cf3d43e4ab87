"""Decisions about signals."""

import signal

import pytest

from darse.containers.lifecycle.signals import parse_signal
from darse.core.errors import InvalidParameter


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("KILL", signal.SIGKILL),
        ("SIGTERM", signal.SIGTERM),
        ("sigusr1", signal.SIGUSR1),
        ("9", 9),
        ("RTMIN+3", signal.SIGRTMIN + 3),
        ("SIGRTMAX-1", signal.SIGRTMAX - 1),
    ],
)
def test_signals_are_named_in_many_ways(text, number):
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["0", "-1", "65", "NOPE", "SIG", "RTMIN+99", "9x", "٣", "SIG42", "SIG9"])
def test_what_is_no_signal_is_refused(text):
    with pytest.raises(InvalidParameter, match="invalid signal"):
        parse_signal(text)
