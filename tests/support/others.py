"""Whether others are served while a plugin or a file server does not answer."""

from __future__ import annotations

import time

from tests.support.engine import BUSYBOX, Engine

SECONDS = 0.1
_TIMES = 5


def prepare_others(engine: Engine) -> None:
    """What `others_are_quick` looks at and removes."""
    for number in range(_TIMES):
        engine.docker("create", "--name", f"other{number}", BUSYBOX, "true").ok()
        engine.docker("volume", "create", f"spare{number}").ok()


def prepare_others_by_api(engine: Engine) -> None:
    """The same without clients, whose starts take longer than all the rest; for who looks often."""
    for number in range(_TIMES):
        body = {"Image": BUSYBOX, "Cmd": ["true"]}
        assert engine.api("POST", f"/containers/create?name=other{number}", body).status == 201
        assert engine.api("POST", "/volumes/create", {"Name": f"spare{number}"}).status == 201


def others_are_quick(engine: Engine, *more: str) -> dict[str, float]:
    """Assert that each request about others, and `more` paths that are read, is answered within 100 ms.

    Each is asked five times, and the quickest counts: a machine that is busy delays some, one who waits for a plugin
    delays all. Returns the seconds of the quickest.
    """
    took: dict[str, float] = {}
    for number in range(_TIMES):
        for method, path in (
            ("GET", "/containers/json?all=1"),
            ("GET", f"/containers/other{number}/json"),
            ("GET", "/volumes"),
            ("GET", f"/volumes/spare{number}"),
            ("DELETE", f"/containers/other{number}"),
            ("DELETE", f"/volumes/spare{number}"),
            *(("GET", one) for one in more),
        ):
            begun = time.monotonic()
            status = engine.api(method, path).status
            elapsed = time.monotonic() - begun
            assert status < 300, (method, path, status)
            key = f"{method} {path}".replace(f"other{number}", "other").replace(f"spare{number}", "spare")
            took[key] = min(elapsed, took.get(key, elapsed))
    assert max(took.values()) < SECONDS, took
    return took
