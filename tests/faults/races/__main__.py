"""Races as many as asked for: `python -m tests.faults.races --runs 60000`."""

from __future__ import annotations

import argparse
import random
import signal
import sys

from tests.faults.races import Report, pairs_with, race_in_slices
from tests.faults.races.runs import MOST_FAILURES, SLICE


def main() -> int:
    """Race as often as asked for, and say what was wrong."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=int, default=60_000)
    parser.add_argument("--slice", type=int, default=SLICE, help="runs of one engine")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("only", nargs="*", help="pairs with this operation; of these two")
    options = parser.parse_args()
    # So that who ends it leaves no engine behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    total = Report(options.seed)
    for report in race_in_slices(options.runs, options.seed, options.slice, pairs_with(*options.only)):
        total.add(report)
        print(report, *report.failures[:MOST_FAILURES], sep="\n  ", flush=True)
    print(total, flush=True)
    print(*(f"{name}: {count}" for name, count in sorted(total.statuses.items())), sep="\n")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
