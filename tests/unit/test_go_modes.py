"""Modes as Go has them, and back."""

from __future__ import annotations

import stat

import pytest

from darse.go_modes import GO_KINDS, GO_TYPES, KERNEL_KINDS, go_mode, permissions


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFREG | 0o4755, 1 << 23 | 0o755),
        (stat.S_IFREG | 0o2755, 1 << 22 | 0o755),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFBLK | 0o660, 1 << 26 | 0o660),
        (stat.S_IFCHR | 0o666, 1 << 26 | 1 << 21 | 0o666),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFSOCK | 0o700, 1 << 24 | 0o700),
    ],
)
def test_a_mode_is_the_same_there_and_back(mode: int, expected: int) -> None:
    found = go_mode(mode, GO_KINDS[stat.S_IFMT(mode)])
    assert found == expected
    assert KERNEL_KINDS[found & GO_TYPES] | permissions(found) == mode
