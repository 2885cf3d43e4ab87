"""Races on one engine, and on one engine after another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.faults.races.bystanders import Bystanders
from tests.faults.races.client import Api, Hangs
from tests.faults.races.lanes import Lane
from tests.faults.races.operations import NETWORK, OPERATIONS, PAIRS
from tests.faults.races.reports import Report
from tests.support.engine import Engine

IN_FLIGHT = 5
# How many runs one engine sees before its descriptors are counted and the host is searched.
SLICE = 5000
MOST_FAILURES = 20


def _schedule(
    runs: int, among: list[tuple[str, str]], chance: random.Random
) -> Iterator[tuple[tuple[str, str], random.Random]]:
    """Every pair equally often, in an order without one, each with what chance decides of its run."""
    pairs: list[tuple[str, str]] = []
    for _ in range(runs):
        if not pairs:
            pairs = chance.sample(among, len(among))
        yield pairs.pop(), random.Random(chance.getrandbits(64))


async def _race(engine: Engine, report: Report, runs: int, among: list[tuple[str, str]], chance: random.Random) -> None:
    api = Api(engine.api.socket_path)
    made = await api("POST", "/networks/create", {"Name": NETWORK})
    assert made.status == 201, made
    bystanders = Bystanders(api, random.Random(chance.random()))
    await bystanders.start()
    schedule = _schedule(runs, among, chance)
    lanes = [Lane(api, number, report) for number in range(IN_FLIGHT)]

    async def drive(lane: Lane) -> None:
        for pair, decides in schedule:
            if len(report.failures) >= MOST_FAILURES:
                return
            try:
                await lane.race(pair, decides)
            except Hangs as error:
                report.hangs.append(f"between two runs, after {pair}: {error}")
        lane.close()

    begun = time.monotonic()
    try:
        await asyncio.gather(*(drive(lane) for lane in lanes))
    finally:
        report.seconds = time.monotonic() - begun
        await bystanders.close()
        report.exits, report.lost = bystanders.seen, bystanders.lost


def race(engine: Engine, runs: int, seed: int, among: list[tuple[str, str]] | None = None) -> Report:
    """Race on a running engine; what is left on the host afterwards is the caller's to look for."""
    report = Report(seed)
    engine.api("GET", "/containers/json")  # what a first request loads stays open
    try:
        asyncio.run(_race(engine, report, runs, among or PAIRS, random.Random(seed)))
    except BaseException:
        print(report, *report.failures, engine.log(), sep="\n", file=sys.stderr)
        raise
    engine.remove_all()
    for line in engine.log(1 << 24).splitlines():
        if line.startswith("Traceback") or "was never retrieved" in line:
            report.faults.append(f"the engine's log has: {line}")
    return report


def race_in_slices(
    runs: int, seed: int, size: int = SLICE, among: list[tuple[str, str]] | None = None
) -> Iterator[Report]:
    """Race on one engine after another, `size` runs each; look for descriptors and for what is left on the host."""
    chance = random.Random(seed)
    while runs > 0:
        engine = Engine.start()
        try:
            # Once before, so that what is opened at a first use is no leak.
            race(engine, 2 * len(OPERATIONS), chance.getrandbits(32))
            before = descriptors(engine)
            report = race(engine, min(size, runs), chance.getrandbits(32), among)
            report.leaks += surplus_descriptors(engine, before)
            if report.failures:
                print(engine.log(20_000), file=sys.stderr)
        finally:
            engine.close(check=False)
        report.leaks += engine.leaks()
        runs -= size
        yield report


def descriptors(engine: Engine) -> Counter[str]:
    """What the engine has open, by kind."""
    found: Counter[str] = Counter()
    for entry in os.scandir(f"/proc/{engine.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[os.readlink(entry.path).partition("[")[0]] += 1
    return found


# The pool of namespaces made ahead is not always as full, and threads for mounts begin when they are needed.
_ELASTIC = {"net:": 4, "socket:": 8, "mnt:": 8}


def surplus_descriptors(engine: Engine, before: Counter[str]) -> list[str]:
    """What the engine has open beyond that, once its clients are gone."""
    deadline = time.monotonic() + 15
    # SQLite keeps what the first backup had open for the next: closing it would end the locks of the other connection
    # (https://www.sqlite.org/src/doc/trunk/src/os_unix.c, "Posix Advisory Locking").
    elastic = _ELASTIC | {str(engine.data_root / "state.sqlite"): 1}
    while True:
        surplus = descriptors(engine) - before
        for kind, most in elastic.items():
            if surplus[kind] <= most:
                surplus.pop(kind, None)
        if not surplus or time.monotonic() > deadline:
            return [f"descriptors: {count} {kind}" for kind, count in surplus.items()]
        time.sleep(0.2)
