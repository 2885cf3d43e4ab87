"""Which events a client wants, and how registries are shown."""

from __future__ import annotations

import pytest

from darse.core.config import EngineConfig
from darse.core.events import Actor, Event
from darse.core.filters import Filters
from darse.engine.system import event_matches, registry_config

CONTAINER = Event(
    "container",
    "exec_create: sh",
    Actor("abcdef" * 10, {"name": "web", "image": "busybox:1", "tier": "x"}),
    "local",
    0,
    0,
)
IMAGE = Event("image", "tag", Actor("sha256:" + "ab" * 32, {"name": "busybox:1"}), "local", 0, 0)


@pytest.mark.parametrize(
    ("event", "filters", "expected"),
    [
        (CONTAINER, {}, True),
        (CONTAINER, {"type": ["container"]}, True),
        (CONTAINER, {"type": ["image", "network"]}, False),
        (CONTAINER, {"event": ["exec_create"]}, True),
        (CONTAINER, {"event": ["exec"]}, False),
        (CONTAINER, {"container": ["web"]}, True),
        (CONTAINER, {"container": ["abcd"]}, True),
        (CONTAINER, {"container": ["other"]}, False),
        (CONTAINER, {"image": ["busybox"]}, True),
        (CONTAINER, {"image": ["alpine"]}, False),
        (CONTAINER, {"label": ["tier=x"]}, True),
        (CONTAINER, {"label": ["tier=y"]}, False),
        (CONTAINER, {"scope": ["swarm"]}, False),
        (CONTAINER, {"service": ["s"]}, False),
        (IMAGE, {"image": ["busybox"]}, True),
        (IMAGE, {"image": ["busybox:1"]}, True),
        (IMAGE, {"image": ["busybox:2"]}, False),
        (IMAGE, {"container": ["web"]}, False),
    ],
)
def test_event_filters(event: Event, filters: dict[str, list[str]], expected: bool) -> None:
    assert event_matches(event, Filters(filters)) is expected


def test_registries() -> None:
    config = EngineConfig(registry_mirrors=("https://m/",), insecure_registries=("r:5000", "10.0.0.0/8"))
    shown = registry_config(config)
    assert shown.InsecureRegistryCIDRs == ["::1/128", "127.0.0.0/8", "10.0.0.0/8"]
    assert shown.IndexConfigs["docker.io"].Mirrors == ["https://m/"]
    assert (shown.IndexConfigs["r:5000"].Secure, shown.IndexConfigs["docker.io"].Secure) == (False, True)
