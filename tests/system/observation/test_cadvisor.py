"""cAdvisor's own packages, unmodified (`make clients`): they see each container by its name."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Callable

import pytest
from tests.support import clients
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

_SAMPLE = re.compile(r'^(container_\w+)\{[^\n]*\bname="([^"]*)"[^\n]*\} (\S+)', re.MULTILINE)
FIGURES = {
    "container_cpu_usage_seconds_total",
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "container_network_receive_bytes_total",
    "container_spec_memory_limit_bytes",
    "container_start_time_seconds",
}


def test_every_container_is_listed_by_its_name(engine: Engine, tell: Callable[[str], None]) -> None:
    program = clients.found("cadvisor")
    if program is None:
        pytest.skip("cadvisor is not built: make clients")
    names = {"web", "store"}
    for name in names:
        engine.docker("run", "-d", "--name", name, "--memory", "64m", BUSYBOX, "sleep", "1000").ok()
    with subprocess.Popen(
        [program, "-docker", engine.host], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, "cadvisor has ended"

            def seen() -> dict[tuple[str, str], float]:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    return {(one[1], one[0]): float(one[2]) for one in _SAMPLE.findall(answer.read().decode())}

            wanted = {(name, figure) for name in names for figure in FIGURES}
            wait_until(lambda: wanted <= seen().keys(), 60, "the containers' figures")
            engine.docker("run", "-d", "--name", "later", BUSYBOX, "sleep", "1000").ok()
            wait_until(lambda: ("later", "container_memory_usage_bytes") in seen(), 60, "a container that came later")
            found = seen()
            assert found["web", "container_spec_memory_limit_bytes"] == 64 << 20
            assert found["web", "container_memory_usage_bytes"] > 0
            tell(f"cadvisor: {len(found)} figures of {len({name for name, _ in found} - {''})} containers")
        finally:
            process.kill()
