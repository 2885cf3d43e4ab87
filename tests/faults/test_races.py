"""Races of two operations on one container: see `tests.faults.races`."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from tests.faults.races import PAIRS, Report, race, race_in_slices
from tests.support.engine import Engine


def _seed() -> int:
    return int(os.environ.get("DARSE_RACE_SEED") or random.SystemRandom().getrandbits(32))


@pytest.mark.timeout(900)
def test_every_pair_once(new_engine: Callable[..., Engine], tell: Callable[[str], None]) -> None:
    # What a race covers is chance, and what coverage costs is half of the time.
    report = race(new_engine(coverage=False), len(PAIRS), _seed())
    tell(str(report))
    assert not report.failures, "\n".join(report.failures)


@pytest.mark.heavy
@pytest.mark.timeout(0)
def test_every_pair_again_and_again(tell: Callable[[str], None]) -> None:
    total = Report(_seed())
    for report in race_in_slices(int(os.environ.get("DARSE_RACE_COUNT", "60000")), total.seed):
        total.add(report)
        assert not report.failures, "\n".join([str(total), *report.failures])
    tell(str(total))
