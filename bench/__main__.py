"""`make bench`: the same docker client against darsed and, where it is installed, dockerd; see docs/bench.md."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import socket
import sys
from pathlib import Path

from bench import (
    buildkit,
    builds,
    command,
    compose,
    copies,
    images,
    logs,
    names,
    networks,
    observing,
    registry,
    starts,
    volumes,
)
from bench.disk import fresh_disk
from bench.engines import Before, BenchEngine, Darsed, Dockerd
from bench.measure import IMAGE, chosen, measure, not_slower, remove_all, report

# Each has a function `measures(rounds)`; the order is that of the table.
MODULES = (starts, names, networks, logs, observing, copies, volumes, images, registry, builds)


def main() -> int:
    """Measure, print the table and the breakdown; the exit status tells whether all targets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="repetitions of each command")
    parser.add_argument("--json", metavar="FILE", help="write the numbers to FILE")
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="take only the measurements whose names match, as `exec*`; `darse`, `compose`, `buildkit`: a table alone",
    )
    parser.add_argument(
        "--before",
        metavar="DIR",
        type=Path,
        help="compare with an earlier darse instead of dockerd: where its darsed and darse are, as .venv/bin of another"
        " checkout; no line may take 3 %% longer",
    )
    options = parser.parse_args()
    if shutil.which("docker") is None:
        sys.exit("bench: docker's client is missing; `make setup-test` fetches one into .venv/libexec")
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(fresh_disk())
        ours = Darsed(disk)
        engines: list[BenchEngine] = [ours]
        stack.callback(ours.close)
        ours.start()
        ours.docker("run", "--rm", IMAGE, "true")
        if (other := peer(disk, options.before)) is not None:
            engines.append(other)
            stack.callback(other.close)
            other.start()
            other.docker("load", data=ours.save(IMAGE))
            other.docker("run", "--rm", IMAGE, "true")
        wanted = [one for module in MODULES for one in module.measures(options.rounds)]
        if options.before:
            wanted = not_slower([*wanted, *command.measures(options.rounds)])
        results = measure(engines, chosen(wanted, options.only))
        met = report(engines, results)
        if not options.before:
            met &= tables(ours, options.only, options.rounds)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({measure.name: values for measure, values in results}, file, indent=1)
    return 0 if met else 1


def peer(disk: Path, before: Path | None) -> BenchEngine | None:
    """What darsed is compared with."""
    if before is not None:
        return Before(disk, before.absolute())
    if shutil.which("dockerd"):
        return Dockerd(disk)
    print("dockerd is not installed (Debian: apt-get install docker.io): only darsed is measured\n")
    return None


def tables(engine: Darsed, only: str | None, rounds: int) -> bool:
    """The tables of other programs, all on darsed; whether all targets are met."""
    met = True
    if only in (None, "darse"):
        met &= command.command(engine, max(30, rounds))
    if only in (None, "compose"):
        met &= compose.compose(engine, rounds)
    if only in (None, "buildkit"):
        met &= buildkit.buildkit(engine, rounds)
    if only is None:
        breakdown(engine)
    return met


def breakdown(engine: BenchEngine) -> None:
    """Print where the milliseconds of a start go, from the engine's own trace."""
    engine.docker("run", "-d", "--name", "traced", "-p", "8080:80", IMAGE, "sleep", "1000")
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(engine.socket))
    connection.request("GET", "/darse/explain/traced?last=start")
    operation = json.loads(connection.getresponse().read())
    print(f"\nwhere a start's milliseconds go (bridge, one published port); {os.cpu_count()} cores")
    total = operation["duration_ns"] / 1e6
    for step in operation["steps"]:
        print(f"{step['duration_ns'] / 1e6:>9.2f}  {step['kind']:<10}{step['summary'][:90]}")
    told = sum(step["duration_ns"] for step in operation["steps"]) / 1e6
    print(f"{told:>9.2f}  in these steps (some run beside each other), of {total:.2f} for the start as a whole")
    remove_all(engine)


if __name__ == "__main__":
    sys.exit(main())
