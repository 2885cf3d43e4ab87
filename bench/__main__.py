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
from bench.engines import BenchEngine, Darsed, Dockerd
from bench.measure import IMAGE, chosen, measure, remove_all, report

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
    options = parser.parse_args()
    if shutil.which("docker") is None:
        sys.exit("bench: docker's client is missing; `make setup-test` fetches one into .venv/libexec")
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(fresh_disk())
        engines: list[BenchEngine] = [Darsed(disk)]
        stack.callback(engines[0].close)
        engines[0].start()
        engines[0].docker("run", "--rm", IMAGE, "true")
        if shutil.which("dockerd"):
            engines.append(Dockerd(disk))
            stack.callback(engines[1].close)
            engines[1].start()
            engines[1].docker("load", data=engines[0].save(IMAGE))
            engines[1].docker("run", "--rm", IMAGE, "true")
        else:
            print("dockerd is not installed (Debian: apt-get install docker.io): only darsed is measured\n")
        wanted = [one for module in MODULES for one in module.measures(options.rounds)]
        results = measure(engines, chosen(wanted, options.only))
        met = report(engines, results)
        if options.only in (None, "darse"):
            met &= command.command(engines[0], max(30, options.rounds))
        if options.only in (None, "compose"):
            met &= compose.compose(engines[0], options.rounds)
        if options.only in (None, "buildkit"):
            met &= buildkit.buildkit(engines[0], options.rounds)
        if options.only is None:
            breakdown(engines[0])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({measure.name: values for measure, values in results}, file, indent=1)
    return 0 if met else 1


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
