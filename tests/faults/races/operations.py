"""The operations that are raced, and their pairs."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from itertools import combinations_with_replacement
from typing import Any
from urllib.parse import quote

from tests.faults.races.client import Answer, Api
from tests.support.small_images import tar

LABEL = "race"
NETWORK = "races"
# A client that follows leaves after this time.
_LONGEST_FOLLOW = 0.05
# An exec that has not ended by then may be one of a container that was paused.
_PAUSED_SECONDS = 0.5


class Target:
    """The container of a run, as an operation needs it."""

    def __init__(self, api: Api, container_id: str, label: str, chance: random.Random) -> None:
        self.api = api
        self.id = container_id
        self.label = label
        self.chance = chance

    def post(self, what: str, body: object = None, **options: Any) -> Awaitable[Answer]:
        return self.api("POST", f"/containers/{self.id}/{what}", body, **options)

    def get(self, what: str, **options: Any) -> Awaitable[Answer]:
        return self.api("GET", f"/containers/{self.id}/{what}", **options)

    @property
    def patience(self) -> float:
        """How long a client follows."""
        return self.chance.uniform(0, _LONGEST_FOLLOW)


async def _exec(target: Target, *, terminal: bool = False, detach: bool = False) -> Answer:
    config = {"Cmd": ["sh", "-c", "echo x; sleep 0.01"], "AttachStdout": not detach, "Tty": terminal}
    made = await target.post("exec", config)
    if made.status != 201:
        return made
    exec_id = made.json()["Id"]
    path, start = f"/exec/{exec_id}/start", {"Detach": detach, "Tty": terminal}
    if detach:
        return await target.api("POST", path, start)
    resize = asyncio.create_task(target.api("POST", f"/exec/{exec_id}/resize?h=30&w=90")) if terminal else None
    streams = asyncio.create_task(target.api("POST", path, start, upgrade=True))
    try:
        while not (await asyncio.wait((streams,), timeout=_PAUSED_SECONDS))[0]:
            # In a container that is paused it goes on when that does.
            state = await target.get("json")
            if state.status == 200 and state.json()["State"]["Paused"]:
                return Answer(101, b"")
        started = streams.result()
        if resize is None or started.status != 101:
            return started
        return max(await resize, started, key=lambda answer: answer.status)
    finally:
        # The resize of an exec that does not start waits for its start as long as a client waits here.
        for task in (streams, *([resize] if resize is not None else [])):
            task.cancel()


async def _commit(target: Target) -> Answer:
    made = await target.api("POST", f"/commit?container={target.id}", {})
    if made.status == 201:
        removed = await target.api("DELETE", f"/images/{made.json()['Id']}?force=1")
        # Two commits of the same files in the same second make one image.
        assert removed.status in (200, 404, 409), removed
    return made


async def _rename(target: Target) -> Answer:
    return await target.post(f"rename?name=race-{target.chance.getrandbits(64):x}")


async def _network(target: Target, what: str) -> Answer:
    return await target.api("POST", f"/networks/{NETWORK}/{what}", {"Container": target.id})


def filters(**filters: list[str]) -> str:
    return "filters=" + quote(json.dumps(filters))


def _archive(target: Target) -> bytes:
    # Two that unpack the same file at once may stumble over each other.
    return tar({f"raced-{target.chance.getrandbits(64):x}": b"x" * 10_000})


Operation = Callable[[Target], Awaitable[Answer]]
OPERATIONS: dict[str, Operation] = {
    "start": lambda one: one.post("start"),
    "stop": lambda one: one.post("stop?t=1"),
    "kill": lambda one: one.post("kill"),
    "kill -s TERM": lambda one: one.post("kill?signal=TERM"),
    "restart": lambda one: one.post("restart?t=1"),
    "pause": lambda one: one.post("pause"),
    "unpause": lambda one: one.post("unpause"),
    "rm": lambda one: one.api("DELETE", f"/containers/{one.id}?v=1"),
    "rm -f": lambda one: one.api("DELETE", f"/containers/{one.id}?force=1&v=1"),
    "prune": lambda one: one.api("POST", f"/containers/prune?{filters(label=[f'{LABEL}={one.label}'])}"),
    "rename": _rename,
    "update": lambda one: one.post("update", {"CpuShares": one.chance.choice((256, 512, 1024))}),
    "exec": _exec,
    "exec -d": lambda one: _exec(one, detach=True),
    "exec resize": lambda one: _exec(one, terminal=True),
    "resize": lambda one: one.post("resize?h=30&w=90"),
    "attach": lambda one: one.post("attach?stream=1&stdout=1&stdin=1", follow=one.patience, upgrade=True),
    "attach with logs": lambda one: one.post("attach?stream=1&logs=1&stdout=1&stderr=1", follow=one.patience),
    "logs": lambda one: one.get("logs?stdout=1&stderr=1"),
    "logs -f": lambda one: one.get("logs?stdout=1&follow=1", follow=one.patience),
    "wait": lambda one: one.post("wait", follow=one.patience),
    "wait removed": lambda one: one.post("wait?condition=removed", follow=one.patience),
    "top": lambda one: one.get("top"),
    "stats": lambda one: one.get("stats?stream=0&one-shot=1"),
    "inspect": lambda one: one.get("json?size=1"),
    "ps -s": lambda one: one.api("GET", "/containers/json?all=1&size=1"),
    "cp in": lambda one: one.api("PUT", f"/containers/{one.id}/archive?path=/tmp", _archive(one)),
    "cp out": lambda one: one.get("archive?path=/bin"),
    "cp stat": lambda one: one.api("HEAD", f"/containers/{one.id}/archive?path=/bin/sh"),
    "export": lambda one: one.get("export"),
    "commit": _commit,
    "diff": lambda one: one.get("changes"),
    "network connect": lambda one: _network(one, "connect"),
    "network disconnect": lambda one: _network(one, "disconnect"),
}
PAIRS = list(combinations_with_replacement(OPERATIONS, 2))


def pairs_with(*names: str) -> list[tuple[str, str]]:
    """The pairs in which one of these operations is; of two names only the pairs of these two."""
    for name in names:
        assert name in OPERATIONS, f"{name} is none of {', '.join(OPERATIONS)}"
    if len(names) == 2:
        return [pair for pair in PAIRS if sorted(pair) == sorted(names)]
    return [pair for pair in PAIRS if not names or set(names) & set(pair)]
