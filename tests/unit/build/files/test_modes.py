"""Symbolic modes."""

from __future__ import annotations

import pytest

from darse.build.errors import BuildError
from darse.build.files.modes import symbolic_mode


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("u+x", 0o644, 0o744),
        ("+x", 0o644, 0o755),
        ("a-w", 0o666, 0o444),
        ("go=", 0o777, 0o700),
        ("u=rwX,go=rX", 0o600, 0o644),
        ("u=rwX,go=rX", 0o711, 0o755),
        ("g=u", 0o750, 0o770),
        ("o=g-w", 0o770, 0o775),
        ("u+s,g+s", 0o755, 0o6755),
        ("+t", 0o755, 0o1755),
        ("u=rx", 0o4755, 0o555),
        ("u-x+w", 0o500, 0o600),
    ],
)
def test_files(text: str, before: int, after: int) -> None:
    assert oct(symbolic_mode(text, before, is_directory=False)) == oct(after)


@pytest.mark.parametrize(
    ("text", "before", "after"), [("a+X", 0o600, 0o711), ("g=rx", 0o2700, 0o2750), ("u=rwX,go=rX", 0o700, 0o755)]
)
def test_directories(text: str, before: int, after: int) -> None:
    assert oct(symbolic_mode(text, before, is_directory=True)) == oct(after)


@pytest.mark.parametrize("text", ["", "u", "rwx", "u+y", "u+x,", "8"])
def test_refuses(text: str) -> None:
    with pytest.raises(BuildError, match="invalid mode"):
        symbolic_mode(text, 0o644, is_directory=False)
