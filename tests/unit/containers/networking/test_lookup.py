"""Which names a resolver tries, for `darse explain dns`."""

from __future__ import annotations

import pytest

from darse.containers.networking.lookup import candidates
from darse.networks.names import LookupSettings


@pytest.mark.parametrize(
    ("name", "search", "ndots", "tried"),
    [
        ("db", "", 0, "db"),
        ("db", "lan example.org", 0, "db db.lan db.example.org"),
        ("db", "lan", 1, "db.lan db"),
        ("db.shop", "lan", 1, "db.shop db.shop.lan"),
        ("db.shop", "lan", 2, "db.shop.lan db.shop"),
        ("db.", "lan", 5, "db."),
    ],
)
def test_candidates(name: str, search: str, ndots: int, tried: str) -> None:
    assert candidates(name, LookupSettings([], search.split(), ndots)) == tried.split()
