"""Many containers: a thousand that sleep, and fifty that crash again and again."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

THOUSAND = 1000
# A start is told from the one beside it by chance; twenty of them are not.
SAMPLE = 20
NEEDED_MEMORY = 3 << 30
# What the kernel does of a start passes all ports of the bridge, all file systems of its kinds, and all control groups:
# some seven milliseconds with a thousand.
MOST_GROWTH, MOST_GROWTH_OF_OURS = 2.0, 1.25


def resident(pid: int) -> int:
    """Memory of a process in kB, its share of what it has in common with others (proc_pid_smaps(5))."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def user_seconds(pid: int) -> float:
    """Processor time that a process has used outside of the kernel (proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rpartition(")")[2].split()[11]) / os.sysconf("SC_CLK_TCK")


def start(engine: Engine, name: str, *command: str, **host: object) -> float:
    """Create and start a container; the seconds that the start took."""
    body = {"Image": BUSYBOX, "Cmd": list(command), "HostConfig": host}
    made = engine.api("POST", f"/containers/create?name={name}", body)
    assert made.status == 201, made.body
    began = time.perf_counter()
    started = engine.api("POST", f"/containers/{name}/start", timeout=60)
    assert started.status == 204, started.body
    return time.perf_counter() - began


def test_a_thousand_sleeping_containers(new_engine: Callable[..., Engine], tell: Callable[[str], None]) -> None:
    """All start, the last as fast as the first; lists stay fast, the engine small; all stop, and nothing is left."""
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < NEEDED_MEMORY:
        pytest.skip("a thousand containers and their monitors take 3 GB of free memory")
    engine = new_engine()
    for number in range(SAMPLE):  # what the first containers make the engine load stays
        start(engine, f"first{number}", "true")
    engine.remove_all()
    before = resident(engine.pid)
    seconds, used = [], []
    for number in range(THOUSAND):
        used.append(user_seconds(engine.pid))
        seconds.append(start(engine, f"sleeper{number}", "sleep", "100000"))
    used.append(user_seconds(engine.pid))
    grown = (resident(engine.pid) - before) / THOUSAND
    first, last = (1000 * statistics.median(some) for some in (seconds[:SAMPLE], seconds[-SAMPLE:]))
    ours_first, ours_last = (1000 * (used[at + SAMPLE] - used[at]) / SAMPLE for at in (0, THOUSAND - SAMPLE))
    lists = {}
    for client in (engine.docker, engine.darse):
        began = time.perf_counter()
        assert len(client("ps", "-q").ok().out.split()) == THOUSAND
        lists[client.name] = time.perf_counter() - began
    engine.kill9()
    began = time.perf_counter()
    engine.up()
    taken_over = time.perf_counter() - began
    assert engine.api("GET", "/info").json()["ContainersRunning"] == THOUSAND
    began = time.perf_counter()
    with ThreadPoolExecutor(16) as threads:
        stops = threads.map(
            lambda number: engine.api("POST", f"/containers/sleeper{number}/stop?t=0", timeout=120).status,
            range(THOUSAND),
        )
        assert set(stops) == {204}
    stopped = time.perf_counter() - began
    assert engine.api("GET", "/info").json()["ContainersRunning"] == 0
    engine.remove_all()
    tell(
        f"scale: {THOUSAND} containers: start {first:.1f} ms first, {last:.1f} ms last, "
        f"of the engine's own {ours_first:.1f} and {ours_last:.1f}; it grows by "
        f"{grown:.0f} kB each; ps takes {max(lists.values()):.2f} s; a new engine is ready after {taken_over:.2f} s; "
        f"stopping all takes {stopped:.1f} s"
    )
    assert last <= MOST_GROWTH * first
    assert ours_last <= MOST_GROWTH_OF_OURS * ours_first
    assert grown <= 100
    assert max(lists.values()) < 1
    # What is left on the host is looked for when the engine is closed.


def test_a_storm_of_restarts_leaves_the_api_fast(
    new_engine: Callable[..., Engine], tell: Callable[[str], None]
) -> None:
    """Fifty containers that crash at once, each brought back by its restart policy, for a minute."""
    engine = new_engine()
    for number in range(50):
        start(engine, f"crasher{number}", "false", RestartPolicy={"Name": "always"})
    taken = []
    end = time.monotonic() + 60

    def asked() -> bool:
        began = time.perf_counter()
        assert len(engine.api("GET", "/containers/json?all=1").json()) == 50
        taken.append(time.perf_counter() - began)
        return time.monotonic() > end

    wait_until(asked, 70, "the minute's end")
    counts = [engine.api("GET", f"/containers/crasher{number}/json").json()["RestartCount"] for number in range(50)]
    p99 = sorted(taken)[int(len(taken) * 0.99)] * 1000
    tell(f"restart storm: {sum(counts)} restarts in a minute, {len(taken)} lists, 99 % of them within {p99:.0f} ms")
    assert min(counts) >= 5
    assert p99 < 200
