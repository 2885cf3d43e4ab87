"""`make bench`: the same docker client against darsed and, where it is installed, dockerd; see docs/bench.md."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.engines import BenchEngine, Darsed, Dockerd, memory

IMAGE = "builtin/busybox"


@dataclass(frozen=True)
class Measure:
    """One line of the table: what is measured, in which unit, and the ratio to dockerd's that is aimed at."""

    name: str
    unit: str
    target: float | None
    rounds: int
    take: Callable[[BenchEngine], float]


def seconds(engine: BenchEngine, *arguments: str) -> float:
    """How long docker's client takes, in milliseconds."""
    began = time.perf_counter()
    done = subprocess.run(
        ["docker", *arguments], env=engine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{engine.name}: docker {' '.join(arguments)}: {done.stderr.decode()}")
    return took * 1000


def run_on(network: str) -> Callable[[BenchEngine], float]:
    """A run of `true` on a network."""
    return lambda engine: seconds(engine, "run", "--rm", "--network", network, IMAGE, "true")


def fifty(engine: BenchEngine) -> float:
    """Fifty detached containers, eight at a time; they are removed outside of the measurement."""
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: seconds(engine, "run", "-d", IMAGE, "sleep", "1000"), range(50)))
    took = time.perf_counter() - began
    remove_all(engine)
    return took * 1000


def cold_start(engine: BenchEngine) -> float:
    """From the start of the program to the first answered ping."""
    engine.stop()
    return engine.start() * 1000


def idle_memory(field: str) -> Callable[[BenchEngine], float]:
    """All of the engine's processes, freshly started and having run one container."""

    def take(engine: BenchEngine) -> float:
        engine.docker("run", "--rm", IMAGE, "true")
        return memory(engine.processes(), field)

    return take


def container_memory(field: str) -> Callable[[BenchEngine], float]:
    """What holds a running container beside its own processes, for each of ten."""

    def take(engine: BenchEngine) -> float:
        for _ in range(10):
            engine.docker("run", "-d", IMAGE, "sleep", "1000")
        total = memory(engine.holders(), field)
        remove_all(engine)
        return total / 10

    return take


def remove_all(engine: BenchEngine) -> None:
    """Remove all containers."""
    containers = engine.docker("ps", "-aq").split()
    if containers:
        engine.docker("rm", "-f", *containers)


def exec_true(engine: BenchEngine) -> float:
    """An exec of `true`."""
    return seconds(engine, "exec", "bench", "true")


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    return [
        Measure("run --rm, bridge", "ms", 0.20, rounds, run_on("bridge")),
        Measure("run --rm, host", "ms", 0.35, rounds, run_on("host")),
        Measure("run --rm, none", "ms", 0.35, rounds, run_on("none")),
        Measure("exec true", "ms", 0.40, rounds, exec_true),
        Measure("ps", "ms", None, rounds, lambda engine: seconds(engine, "ps")),
        Measure("50 detached, 8 at a time", "ms", None, max(1, rounds // 10), fifty),
        Measure("per container, Pss", "MiB", 0.25, 1, container_memory("Pss")),
        Measure("per container, Rss", "MiB", None, 1, container_memory("Rss")),
        Measure("cold start", "ms", 0.50, max(3, rounds // 4), cold_start),
        Measure("engine idle, Pss", "MiB", 0.50, 1, idle_memory("Pss")),
        Measure("engine idle, Rss", "MiB", 0.50, 1, idle_memory("Rss")),
    ]


def main() -> int:
    """Measure, print the table and the breakdown; the exit status tells whether all targets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="repetitions of each command")
    parser.add_argument("--json", metavar="FILE", help="write the numbers to FILE")
    options = parser.parse_args()
    if shutil.which("docker") is None:
        sys.exit("bench: docker's client is missing; `make setup-test` fetches one into .venv/libexec")
    with contextlib.ExitStack() as stack:
        engines: list[BenchEngine] = [Darsed()]
        stack.callback(engines[0].close)
        engines[0].start()
        engines[0].docker("run", "--rm", IMAGE, "true")
        if shutil.which("dockerd"):
            engines.append(Dockerd())
            stack.callback(engines[1].close)
            engines[1].start()
            engines[1].docker("load", data=engines[0].save(IMAGE))
            engines[1].docker("run", "--rm", IMAGE, "true")
        else:
            print("dockerd is not installed (Debian: apt-get install docker.io): only darsed is measured\n")
        results = measure(engines, measures(options.rounds))
        met = report(engines, results)
        met &= command(engines[0], options.rounds)
        breakdown(engines[0])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({measure.name: values for measure, values in results}, file, indent=1)
    return 0 if met else 1


def measure(engines: list[BenchEngine], wanted: list[Measure]) -> list[tuple[Measure, dict[str, list[float]]]]:
    """Take each measure on each engine in turn, again and again."""
    results = []
    for one in wanted:
        if one.name == "exec true":
            for engine in engines:
                engine.docker("run", "-d", "--name", "bench", IMAGE, "sleep", "100000")
        values: dict[str, list[float]] = {engine.name: [] for engine in engines}
        for number in range(one.rounds):
            # The first in a pair is not always the same one.
            for engine in engines if number % 2 == 0 else reversed(engines):
                engine.take_turn()
                values[engine.name].append(one.take(engine))
        results.append((one, values))
        if one.name == "ps":
            for engine in engines:
                remove_all(engine)
    return results


def report(engines: list[BenchEngine], results: list[tuple[Measure, dict[str, list[float]]]]) -> bool:
    """Print the table; whether all targets are met."""
    paired = len(engines) > 1
    print(f"{'median of alternating runs':<28}{'':>5}" + "".join(f"{engine.name:>12}" for engine in engines), end="")
    print(f"{'ratio':>9}{'target':>9}" if paired else "")
    met = True
    for one, values in results:
        medians = [statistics.median(values[engine.name]) for engine in engines]
        line = f"{one.name:<28}{one.unit:>5}" + "".join(f"{median:>12.1f}" for median in medians)
        if paired:
            ratio = medians[0] / medians[1]
            line += f"{ratio:>9.2f}"
            if one.target is not None:
                good = ratio <= one.target
                met &= good
                line += f"{one.target:>9.2f}  {'met' if good else 'MISSED'}"
        print(line)
    return met


def command(engine: BenchEngine, rounds: int) -> bool:
    """Measure our own command: its start against that of a bare Python, a run against docker's client."""
    directory = Path(sys.executable).parent
    environment = {**engine.environment, "DARSE_HOST": engine.environment["DOCKER_HOST"]}
    programs = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "darse version --client": [str(directory / "darse"), "version", "--client"],
        "darse run --rm, bridge": [str(directory / "darse"), "run", "--rm", IMAGE, "true"],
        "docker run --rm, bridge": ["docker", "run", "--rm", IMAGE, "true"],
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            began = time.perf_counter()
            subprocess.run(program, env=environment, stdout=subprocess.DEVNULL, check=True)
            taken[name].append((time.perf_counter() - began) * 1000)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    ratio = medians["darse version --client"] / medians["python -c pass"]
    print("\nour own command, on darsed")
    for name, median in medians.items():
        print(f"{name:<28}   ms{median:>12.1f}", end="")
        print(f"{ratio:>21.2f}{2.5:>9.2f}  {'met' if ratio <= 2.5 else 'MISSED'}" if "version" in name else "")
    return ratio <= 2.5


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
