"""How many cases property tests try: few by default, 50,000 in heavy runs.

@given(...)
def check(...): ...

test_fast, test_heavy = some(check), many(check)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

_CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


def some(check: Callable[..., Any], cases: int = 600) -> Callable[..., Any]:
    """A test of few cases, in a second or two."""
    return settings(max_examples=cases, deadline=None, suppress_health_check=_CHECKS)(_named(check))


def many(check: Callable[..., Any], cases: int = 50_000) -> Callable[..., Any]:
    """The same with very many."""
    test = settings(max_examples=cases, deadline=None, suppress_health_check=_CHECKS)(_named(check))
    return pytest.mark.timeout(1800)(pytest.mark.heavy(test))


def _named(check: Callable[..., Any]) -> Callable[..., Any]:
    # settings() marks the function that it gets: each test needs one of its own.
    import types

    copy = types.FunctionType(check.__code__, check.__globals__, check.__name__, check.__defaults__, check.__closure__)
    copy.__dict__.update(check.__dict__)
    copy.__kwdefaults__ = check.__kwdefaults__
    return copy
