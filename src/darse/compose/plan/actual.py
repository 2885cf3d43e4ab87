"""What an engine has of a project, found by the labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from darse.compose.desired import labels
from darse.wire.containers import ContainerSummary, MountPoint
from darse.wire.networks import Network
from darse.wire.volumes import Volume

# What a container is called between its creation and its taking another's place.
_TEMPORARY = re.compile(r"[0-9a-f]{12}_")


@dataclass(frozen=True)
class ActualContainer:
    """A container of a project; `networks` maps the names of its networks to their ids."""

    id: str
    name: str
    service: str
    number: int = 0
    state: str = "running"
    labels: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[MountPoint, ...] = ()

    @classmethod
    def of(cls, summary: ContainerSummary) -> ActualContainer:
        """The container of an entry of a list."""
        number = summary.Labels.get(labels.NUMBER, "")
        names = [name.removeprefix("/") for name in summary.Names]
        return cls(
            summary.Id,
            next((name for name in names if "/" not in name), summary.Id[:12]),
            summary.Labels.get(labels.SERVICE, ""),
            int(number) if number.isdecimal() else 0,
            summary.State,
            summary.Labels,
            {name: one.NetworkID for name, one in summary.NetworkSettings.Networks.items()},
            tuple(summary.Mounts),
        )

    @property
    def is_one_off(self) -> bool:
        """Whether `run` made it."""
        return self.labels.get(labels.ONE_OFF) == "True"

    @property
    def is_running(self) -> bool:
        """Whether nothing has to be done for it to run."""
        return self.state in ("running", "restarting")

    @property
    def is_unfinished(self) -> bool:
        """Whether it was made to take another's place, and has not got its name."""
        return labels.REPLACES in self.labels and _TEMPORARY.match(self.name) is not None

    @property
    def dependencies(self) -> set[str]:
        """The services that its own depends on."""
        return {one.partition(":")[0] for one in self.labels.get(labels.DEPENDS_ON, "").split(",") if one}


@dataclass(frozen=True)
class ActualState:
    """All of a project that is there; networks and volumes, those of others too, by their names."""

    containers: tuple[ActualContainer, ...] = ()
    networks: Mapping[str, Network] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)

    @classmethod
    def of(
        cls, containers: Iterable[ContainerSummary], networks: Iterable[Network] = (), volumes: Iterable[Volume] = ()
    ) -> ActualState:
        """The state that lists of an engine show."""
        return cls(
            tuple(sorted(map(ActualContainer.of, containers), key=lambda one: (one.service, one.number, one.name))),
            {one.Name: one for one in networks},
            {one.Name: one for one in volumes},
        )

    def of_service(self, service: str) -> list[ActualContainer]:
        """The containers of a service, but for one-off ones."""
        return [one for one in self.containers if one.service == service and not one.is_one_off]
