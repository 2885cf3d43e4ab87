"""As much as a container can write, while engines die: every line is there, in order, none twice."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine

_MEGABYTE = 10_000  # lines of 100 bytes


def numbered(path: Path, megabytes: int) -> str:
    """Write numbered lines of 100 bytes, and return their digest."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for begin in range(0, megabytes * _MEGABYTE, _MEGABYTE):
            block = b"".join(b"%099d\n" % number for number in range(begin, begin + _MEGABYTE))
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def digest_of_logs(engine: Engine, container: str, seconds: float) -> tuple[str, int]:
    """What `docker logs` prints, as a digest and a number of bytes."""
    digest, size = hashlib.sha256(), 0
    with engine.docker.popen("logs", container, stderr=subprocess.STDOUT) as reading:
        assert reading.stdout is not None
        while block := reading.stdout.read(1 << 20):
            digest.update(block)
            size += len(block)
        assert reading.wait(seconds) == 0
    return digest.hexdigest(), size


@pytest.mark.parametrize("megabytes", [30, pytest.param(1000, marks=[pytest.mark.heavy, pytest.mark.timeout(900)])])
@pytest.mark.parametrize("options", [(), ("max-size=10m", "max-file=1000")], ids=["one-file", "rotated"])
def test_no_line_is_lost_or_doubled_while_engines_are_killed(
    new_engine: Callable[..., Engine], tell: Callable[[str], None], megabytes: int, options: tuple[str, ...]
) -> None:
    engine = new_engine()
    lines = engine.root / "lines"
    expected = numbered(lines, megabytes)
    flags = [word for option in options for word in ("--log-opt", option)]
    began = time.monotonic()
    container = engine.docker("run", "-d", "-v", f"{lines}:/lines:ro", *flags, BUSYBOX, "cat", "/lines").ok().line
    for _ in range(2):
        engine.kill9()
        engine.up()
    engine.docker("wait", container, timeout=300).ok()
    took = time.monotonic() - began
    found, size = digest_of_logs(engine, container, 300)
    assert size == megabytes * 1_000_000
    assert found == expected
    tell(f"logs: {megabytes} MB{' rotated' if options else ''}, engine killed twice: whole, in {took:.1f} s")
