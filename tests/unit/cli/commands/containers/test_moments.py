"""The times that `--since` and `--until` take."""

from __future__ import annotations

import pytest

from darse.cli.commands.containers.logs import moment


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("2026-11-29T08:58:55.972083059Z", "1795942735.972083059"),
        ("2026-11-29T08:58:56.02146404Z", "1795942736.021464040"),
        ("2026-11-29T08:58:56Z", "1795942736.000000000"),
        ("12.5", "12.5"),
    ],
)
def test_a_time_is_sent_to_the_nanosecond(text: str, sent: str) -> None:
    assert moment(text, "since") == sent
