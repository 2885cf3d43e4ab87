"""The steps of a plan. A step begins when those that it comes `after` are done; the others run beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from darse.compose.plan.actual import ActualContainer

CREATE, RECREATE, KEEP, REMOVE, RENAME, STOP, START = (
    "create",
    "recreate",
    "keep",
    "remove",
    "rename",
    "stop",
    "start",
)


@dataclass(frozen=True)
class ResourceStep:
    """Something done to a network or a volume. `key` is what the project calls it, `name` what the engine does."""

    kind: str
    action: str
    key: str
    name: str
    reason: str = ""


@dataclass(frozen=True)
class ContainerStep:
    """Something done to a container; `actual` is the one that is there. `reason` says why, for people."""

    action: str
    service: str
    name: str
    number: int = 0
    actual: ActualContainer | None = None
    reason: str = ""
    after: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What other steps call it in `after`."""
        return f"{self.action} {self.name if self.actual is None else self.actual.id}"


@dataclass(frozen=True)
class UpPlan:
    """What `up` does: the resources, then the containers, then their starts."""

    resources: list[ResourceStep] = field(default_factory=list)
    containers: list[ContainerStep] = field(default_factory=list)
    starts: list[ContainerStep] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[ResourceStep | ContainerStep]:
        """All steps, in their order."""
        yield from self.resources
        yield from self.containers
        yield from self.starts

    @property
    def changes(self) -> bool:
        """Whether anything has to be done."""
        actions = [*(step.action for step in self.resources), *(step.action for step in self.containers)]
        return any(action != KEEP for action in actions) or any(step.actual is None for step in self.starts)
