"""Whether ufw is switched on, as its own script reads its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.networks.host_firewall import ufw


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        ("ENABLED=yes\nLOGLEVEL=low\n", True),
        ("# ENABLED=yes\nENABLED=no\n", False),
        ('ENABLED="YES"\n', True),
        ("ENABLED=no\nENABLED=yes\n", True),
        ("", False),
        ("\xff ENABLED", False),
    ],
)
def test_the_file_says_it(tmp_path: Path, text: str, enabled: bool) -> None:
    path = tmp_path / "ufw.conf"
    path.write_bytes(text.encode("latin-1"))
    assert ufw.is_enabled(path) is enabled


def test_without_a_file_there_is_no_ufw(tmp_path: Path) -> None:
    assert not ufw.is_enabled(tmp_path / "ufw.conf")
