"""An engine that is ready has not loaded what no container, image or request has asked for yet."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What `darse.daemon` imports until it is ready.
_ENGINE = """
import sys
import darse.daemon
from darse.api.app import Api
from darse.api.listeners import Listeners
from darse.api.server import ApiServer
from darse.engine.engine import Engine
print(*sys.modules)
"""
_LATER = {
    "archives of images": "darse.images.archive isal tarfile zipfile zstandard",
    "builds": "darse.build.cache darse.build.context darse.build.dockerfile darse.build.executor darse.build.files "
    "darse.build.graph darse.build.ignore darse.build.solver grpclib h2 google.protobuf",
    "checks and repairs": "darse.engine.rebuild darse.program_copy",
    "expressions of clients": "re2",
    "receivers of logs": " ".join(
        f"darse.containers.logs.shipping.{name}" for name in "connections fluentd gelf journald splunk syslog".split()
    ),
    "registries": "darse.distribution.client darse.distribution.hosts darse.distribution.session "
    "darse.images.transfer.manager darse.images.transfer.pull darse.images.transfer.push",
    "metrics": "darse.observing darse.runtime.cgroups.scrape",
    "other programs": "argon2 cryptography darse.cli darse.client darse.web jinja2 jwt yaml",
    "servers and clients that are not used": "aiohttp.client aiohttp.web_urldispatcher http.server",
}


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    done = subprocess.run([sys.executable, "-c", _ENGINE], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("names", _LATER.values(), ids=_LATER)
def test_an_idle_engine_has_not_loaded(loaded: set[str], names: str) -> None:
    found = {one for one in loaded for name in names.split() if one == name or one.startswith(f"{name}.")}
    assert not found
