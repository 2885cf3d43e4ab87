"""Expressions of clients cannot hold the engine: hostile filters, and how long the engine computes for each."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import connect

_DEADLINE = 0.2
_NAMES = ("a" * 38 + "b", "a" * 120 + "b", "web1", "a-b_c.d", "A" * 60 + "9")
_ATOMS = (
    r"a b . \w \W \d \pL \PN \p{Greek} [[:alpha:]] [^a] [a-z0-9] \b ^ $ \A \z \Q.*\E (?i) (?U) é \x{10FFFF} \C".split()
)
_BROKEN = r"( ) [ ] \ ** ++ (?<=a) (?!b) (?#c) \1 \Z {2,1} a{1001} (?P<n (?P<n>a)(?P<n>b) [z-a] [[:nope:]] \pX".split()
_PARTS = (*_ATOMS, *_ATOMS, *_BROKEN)
_REPEATS = ("*", "+", "?", "{1,30}", "{5}", "{0,1000}", "{2,}", "*?", "{,2}")


class _Alive(http.client.HTTPConnection):
    """One connection for many requests."""

    def __init__(self, engine: Engine) -> None:
        super().__init__("engine", timeout=60)
        self._engine = engine

    def connect(self) -> None:
        self.sock = connect(str(self._engine.socket), 60)
        assert isinstance(self.sock, socket.socket)

    def seconds(self, path: str) -> tuple[float, int]:
        """How long one GET takes of the engine's processor time, which other load does not change; and its status."""
        assert self._engine.pid is not None
        clock = ~self._engine.pid << 3 | 2  # clock_getcpuclockid(3)
        begun = time.clock_gettime(clock)
        self.request("GET", path)
        answer = self.getresponse()
        answer.read()
        return time.clock_gettime(clock) - begun, answer.status


@pytest.fixture(scope="module")
def target() -> Iterator[Engine]:
    """An engine with volumes, networks and containers whose names make backtracking engines work for ever."""
    # Without coverage, which costs processor time and loads libraries.
    engine = Engine.start(coverage=False)
    yield engine
    engine.close()


def _libraries(engine: Engine) -> set[str]:
    """The compiled packages that the engine has loaded from its virtual environment."""
    found = set()
    for line in Path(f"/proc/{engine.pid}/maps").read_text().splitlines():
        _, there, path = line.partition("/site-packages/")
        if there and ".so" in path:
            found.add(path.split("/", 1)[0])
    return found


def test_an_idle_engine_has_loaded_nothing_that_it_does_not_use(target: Engine) -> None:
    assert target.api("GET", "/containers/json").status == 200
    assert _libraries(target) <= {"aiohttp", "frozenlist", "isal", "multidict", "msgspec", "propcache", "yarl"}
    assert target.api("GET", "/volumes", query={"filters": {"name": ["x"]}}).status == 200
    assert "re2" not in _libraries(target)
    assert target.api("POST", "/volumes/create", {"Name": "found"}).status == 201
    assert target.api("GET", "/volumes", query={"filters": {"name": ["^fo"]}}).json()["Volumes"]
    assert "re2" in _libraries(target)


def test_filters_have_dockers_syntax(target: Engine, tmp_path: Path) -> None:
    target.docker("create", "--name", "web1", BUSYBOX).ok()
    target.docker("create", "--name", "a" * 38 + "b", BUSYBOX).ok()
    found = ["^web[[:digit:]]$", "[[:^digit:]]eb1", r"\pLeb1", r"\Aweb1\z", r"\Qweb1\E", "(?U)web1", "^/web1$"]
    nothing = ["(?<=w)eb1", "(?!x)web1", "web1++", "web{,2}1", "web1(?#c)", "(a+)+$", "("]
    for name, expected in [*((text, "web1\n") for text in found), *((text, "") for text in nothing)]:
        listed = target.docker("ps", "-a", "--filter", f"name={name}", "--format", "{{.Names}}", timeout=5).ok()
        assert listed.out == expected, name
    target.docker("rm", "web1", "a" * 38 + "b").ok()


def test_patterns_of_logs(target: Engine) -> None:
    """The labels of a container meet the pattern of its log in linear time."""
    label = "a" * 60 + "b"
    options = ("--log-opt", "labels-regex=^(a+)+$|^web[[:digit:]]$", "--label", f"{label}=no", "--label", "web1=yes")
    target.docker("run", "--name", "logged", *options, BUSYBOX, "echo", "x").ok()
    assert target.docker("logs", "--details", "logged", timeout=5).ok().out == "web1=yes x\n"
    target.docker("rm", "logged").ok()


def _expression(source: random.Random, depth: int = 0) -> str:
    if depth > 4 or source.random() < 0.3:
        return source.choice(_PARTS)
    made = "".join(_expression(source, depth + 1) for _ in range(source.randint(1, 4)))
    shape = source.choice(("{}", "({})", "(?:{})", "{}|{}", "({}|{})"))
    return shape.replace("{}", made) + (source.choice(_REPEATS) if source.random() < 0.5 else "")


def _filters(source: random.Random, key: str) -> str:
    kind = source.random()
    if kind < 0.9:
        values = [_expression(source)[:6000] for _ in range(source.choice((1, 1, 1, 2, 20)))]
    elif kind < 0.95:  # what patterns of paths are made of
        values = ["".join(source.choices("*?[]^-\\a/:é", k=source.choice((3, 30, 3000))))]
    else:  # no expression at all: any characters
        values = ["".join(chr(source.choice((*range(1, 256), 0xD800, 0x1F600))) for _ in range(source.randint(0, 300)))]
    return quote(json.dumps({key: values}))


def _fuzz(engine: Engine, count: int, seed: int, tell: Callable[[str], None]) -> None:
    for name in _NAMES:
        assert engine.api("POST", "/volumes/create", {"Name": name}).status == 201
        engine.docker("create", "--name", name, BUSYBOX).ok()
        engine.docker("tag", BUSYBOX, f"{name.lower()}:{name}").ok()
    source = random.Random(seed)
    connection = _Alive(engine)
    statuses: dict[int, int] = {}
    slowest = 0.0
    for number in range(count):
        listed = source.choice(("/volumes", "/containers/json", "/networks", "/images/json"))
        path = f"{listed}?all=1&filters={_filters(source, 'reference' if listed == '/images/json' else 'name')}"
        seconds, status = connection.seconds(path)
        if seconds > _DEADLINE:  # the engine may have done something else, too: it is slow when it is so again
            seconds = min(connection.seconds(path)[0] for _ in range(3))
        slowest = max(slowest, seconds)
        statuses[status] = statuses.get(status, 0) + 1
        assert status in (200, 400, 431), (status, path)
        assert seconds < _DEADLINE, f"seed {seed}, request {number}: {seconds:.3f} s: {path}"
    connection.close()
    engine.remove_all()
    tell(f"hostile filters: {count}, slowest {slowest * 1000:.0f} ms, answered with {dict(sorted(statuses.items()))}")


def test_no_filter_holds_the_engine(target: Engine, tell: Callable[[str], None]) -> None:
    _fuzz(target, 1_500, 1, tell)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_filters_do_not_hold_the_engine(target: Engine, tell: Callable[[str], None]) -> None:
    _fuzz(target, 100_000, random.randrange(1 << 32), tell)
