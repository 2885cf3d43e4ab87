"""What was asked of the kernel, in order, with its time: the record behind `darse explain`.

Everything in `linux/` and `runtime/` that changes the host goes through `step()`. Between `begin()` and the end of
an operation the steps are appended to a list that travels in a context variable, so threads started with the
current context record into the same operation. Outside an operation a step costs one context-variable look-up.

A step keeps the arguments of its shell command, not its text: quoting is work for whoever reads the story.

What is prepared before it is known for whom, is recorded as it is made and appended to whoever takes it (`ahead`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextvars import ContextVar, Token
from types import TracebackType

import msgspec

KINDS = frozenset(
    {
        *("namespace", "mount", "cgroup", "link", "address", "route", "rule", "process", "file", "state", "signal"),
        # Of pulls.
        *("request", "layer"),
    }
)


#: Stands in a command for the name of the container's network namespace, which has none here: see `named`.
NETNS = "\0netns"


class Step(msgspec.Struct, array_like=True):
    """One primitive: what it was, when it began and how long it took (nanoseconds), and the equal shell command."""

    kind: str
    summary: str
    command: tuple[str, ...]
    begin_ns: int
    duration_ns: int
    failed: str = ""


class Operation(msgspec.Struct):
    """An engine operation on one object: `create`, `start`, `exec`, `stop`, `rm`, …"""

    name: str
    subject: str
    started_at_ns: int
    duration_ns: int = 0
    steps: list[Step] = []
    outcome: str = "running"


def named(steps: Iterable[Step], netns: str) -> list[Step]:
    """The steps with a network namespace's name in their commands, as ip-netns(8) would know it."""
    return [
        msgspec.structs.replace(step, command=tuple(word.replace(NETNS, netns) for word in step.command))
        for step in steps
    ]


def prepared(steps: Iterable[Step]) -> None:
    """Add to the current operation what was done for it before it began. It costs the operation no time."""
    operation = _current.get()
    if operation is not None:
        now = time.time_ns()
        for step in steps:
            summary = f"{step.summary} (made ahead, in {step.duration_ns / 1e6:.2f} ms)"
            operation.steps.append(Step(step.kind, summary, step.command, now, 0, step.failed))


_current: ContextVar[Operation | None] = ContextVar("darse_operation", default=None)


class begin:  # noqa: N801 - reads as a statement: `with trace.begin("start", id) as operation:`
    """Record the steps of the block as one operation. Nested operations keep their own records."""

    __slots__ = ("_clock", "_token", "operation")

    def __init__(self, name: str, subject: str) -> None:
        self.operation = Operation(name, subject, time.time_ns())
        self._token: Token[Operation | None] | None = None
        self._clock = 0

    def __enter__(self) -> Operation:
        self._token = _current.set(self.operation)
        self._clock = time.perf_counter_ns()
        return self.operation

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.operation.duration_ns = time.perf_counter_ns() - self._clock
        self.operation.outcome = "done" if error is None else f"failed: {error}"
        assert self._token is not None
        _current.reset(self._token)


class step:  # noqa: N801 - reads as a statement: `with trace.step("mount", "overlay", "mount", …):`
    """Time one primitive and add it to the current operation.

    `kind` is one of KINDS, `summary` a few words for people, `command` the argument vector of a shell command
    that would do the same.
    """

    __slots__ = ("_begin", "_command", "_kind", "_operation", "_summary")

    def __init__(self, kind: str, summary: str, *command: str) -> None:
        self._operation = _current.get()
        self._kind = kind
        self._summary = summary
        self._command = command
        self._begin = 0

    def __enter__(self) -> None:
        if self._operation is not None:
            self._begin = time.perf_counter_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        operation = self._operation
        if operation is None:
            return
        duration = time.perf_counter_ns() - self._begin
        begun = time.time_ns() - duration
        operation.steps.append(
            Step(self._kind, self._summary, self._command, begun, duration, str(error) if error else "")
        )
