"""The plan of `up` and `create`: which containers are created, recreated, kept, removed, and started, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from darse.compose.desired import labels
from darse.compose.desired.names import container_name, replicas
from darse.compose.desired.references import referred, resolved
from darse.compose.model.project import Project
from darse.compose.output.hashes import service_hash
from darse.compose.plan.actual import ActualContainer, ActualState
from darse.compose.plan.order import dependencies, ordered
from darse.compose.plan.resources import resource_steps
from darse.compose.plan.steps import (
    CREATE,
    KEEP,
    RECREATE,
    REMOVE,
    RENAME,
    START,
    STOP,
    ContainerStep,
    ResourceStep,
    UpPlan,
)

DIVERGED, FORCE, NEVER = "diverged", "force", "never"


@dataclass(frozen=True)
class UpOptions:
    """How a project is brought up.

    `services` are those asked for, all when it is empty: `recreate` is of them, `recreate_dependencies` of the others.
    `images` maps services to the ids of their images.
    """

    services: tuple[str, ...] = ()
    recreate: str = DIVERGED
    recreate_dependencies: str = DIVERGED
    remove_orphans: bool = False
    start: bool = True
    images: Mapping[str, str] = field(default_factory=dict)


def plan_up(project: Project, actual: ActualState, options: UpOptions) -> UpPlan:
    """The plan. Raises ComposeError for what can never be."""
    warnings: list[str] = []
    resources = resource_steps(project, actual, warnings)
    planner = _Planner(project, actual, options, resources)
    for name in ordered(dependencies(project, ())):
        # A program provides the others.
        if project.services[name].provider is None:
            planner.service(name)
    orphans = orphaned(project, actual.containers)
    if options.remove_orphans:
        planner.steps += [ContainerStep(REMOVE, one.service, one.name, one.number, one, "an orphan") for one in orphans]
    elif orphans:
        names = " ".join(one.name for one in orphans)
        warnings.append(
            f"Found orphan containers ([{names}]) for this project. If you removed or renamed this service in your "
            "compose file, you can run this command with the --remove-orphans flag to clean it up."
        )
    return UpPlan(resources, planner.steps, planner.starts() if options.start else [], warnings)


def orphaned(project: Project, containers: Iterable[ActualContainer]) -> list[ActualContainer]:
    """The containers of services that the project has not; one-off ones that run belong to whoever runs them."""
    services = project.all_services()
    return [one for one in containers if one.service not in services and not (one.is_one_off and one.is_running)]


class _Planner:
    """Goes through the services, those that others depend on first."""

    def __init__(
        self, project: Project, actual: ActualState, options: UpOptions, resources: list[ResourceStep]
    ) -> None:
        self._project = project
        self._actual = actual
        self._options = options
        self._made = {(one.kind, one.key) for one in resources if one.action != KEEP}
        self._networks = {
            key: actual.networks[one.name].Id for key, one in project.networks.items() if one.name in actual.networks
        }
        self._ids: dict[str, str] = {}
        #: The containers that each service has in the end.
        self._final: dict[str, list[ContainerStep]] = {}
        self._renewed: set[str] = set()
        self.steps: list[ContainerStep] = []

    def service(self, name: str) -> None:
        """Plan the containers of a service."""
        service = self._project.services[name]
        count = replicas(name, service)
        containers, begun = self._usable(name)
        reasons = {one.id: self._reason(name, one) for one in containers}
        containers.sort(key=lambda one: (bool(reasons[one.id]), one.number))
        after = tuple(step.key for other in referred(service) for step in self._final.get(other, ()))
        steps = list(begun)
        for one in containers[count:]:
            steps.append(ContainerStep(REMOVE, name, one.name, one.number, one, "there are more than asked for"))
        kept = [self._kept(name, one, reasons[one.id], after) for one in containers[:count]]
        highest = max((one.number for one in containers), default=0)
        for number in range(highest + 1, highest + 1 + count - len(kept)):
            shown = container_name(self._project, name, number)
            kept.append(ContainerStep(CREATE, name, shown, number, None, "it is not there", after))
        self._final[name] = kept
        if any(step.action in (CREATE, RECREATE) for step in kept):
            self._renewed.add(name)
        lowest = min((step for step in kept), key=lambda step: step.number, default=None)
        if lowest is not None and lowest.actual is not None and lowest.action in (KEEP, RENAME):
            self._ids[name] = lowest.actual.id
        self.steps += [*steps, *kept]
        if any(step.action == RECREATE for step in kept):
            self._stop_dependents(name)

    def _usable(self, name: str) -> tuple[list[ActualContainer], list[ContainerStep]]:
        """The containers of a service, and the steps for those that were to take another's place and did not."""
        found, steps = [], []
        all_ = self._actual.of_service(name)
        for one in all_:
            if one.is_unfinished and any(other.number == one.number and not other.is_unfinished for other in all_):
                steps.append(ContainerStep(REMOVE, name, one.name, one.number, one, "it was not finished"))
            else:
                found.append(one)
        return found, steps

    def _kept(self, name: str, one: ActualContainer, reason: str, after: tuple[str, ...]) -> ContainerStep:
        shown = container_name(self._project, name, one.number)
        if reason:
            return ContainerStep(RECREATE, name, shown, one.number, one, reason, after)
        if one.is_unfinished:
            return ContainerStep(RENAME, name, shown, one.number, one, "it has not got its name", after)
        return ContainerStep(KEEP, name, one.name, one.number, one)

    def _reason(self, name: str, one: ActualContainer) -> str:
        """Why a container is recreated; empty when it is kept."""
        options = self._options
        is_asked_for = not options.services or name in options.services
        policy = options.recreate if is_asked_for else options.recreate_dependencies
        if policy == NEVER:
            return ""
        if policy == FORCE:
            return "it was asked for"
        service = self._project.services[name]
        if shared := sorted(referred(service) & self._renewed):
            return f"the container of {shared[0]} that it shares is new"
        missing = referred(service) - set(self._ids)
        expected = "" if missing else service_hash(resolved(service, self._ids))
        if one.labels.get(labels.CONFIG_HASH) != expected:
            return "its configuration changed"
        image = options.images.get(name, "")
        if image and one.labels.get(labels.IMAGE, "") != image:
            return "its image changed"
        return self._detached(name, one)

    def _detached(self, name: str, one: ActualContainer) -> str:
        """Whether networks or volumes are not those of the project any more."""
        service = self._project.services[name]
        if one.state == "running" and not service.network_mode:
            connected = set(one.networks.values())
            for key in service.networks:
                if ("network", key) in self._made or self._networks.get(key) not in connected:
                    return f"it is not on network {key}"
        mounted = {mount.Name for mount in one.mounts if mount.Type == "volume"}
        for volume in service.volumes:
            named = self._project.volumes.get(volume.source) if volume.type == "volume" else None
            if named is not None and named.name not in mounted:
                return f"volume {volume.source} is not mounted"
        return ""

    def _stop_dependents(self, name: str) -> None:
        """Containers that are to be restarted with a service stop before it is recreated."""
        for other, service in self._project.services.items():
            dependency = service.depends_on.get(name)
            if dependency is None or not dependency.restart:
                continue
            for one in self._actual.of_service(other):
                if one.is_running:
                    reason = f"{name}, on which it depends, is recreated"
                    self.steps.append(ContainerStep(STOP, other, one.name, one.number, one, reason))
        stops = tuple(step.key for step in self.steps if step.action == STOP)
        self.steps = [
            _after(step, stops) if step.action == RECREATE and step.service == name else step for step in self.steps
        ]

    def starts(self) -> list[ContainerStep]:
        """The starts of all containers that do not run, each after those of the services that its own depends on."""
        stopped = {step.actual.id for step in self.steps if step.action == STOP and step.actual}
        found: list[ContainerStep] = []
        of_service: dict[str, tuple[str, ...]] = {}
        for name, kept in self._final.items():
            depends_on = self._project.services[name].depends_on
            after = tuple(key for other in depends_on for key in of_service.get(other, ()))
            starts = [
                ContainerStep(START, name, step.name, step.number, _running(step, stopped), "", after) for step in kept
            ]
            of_service[name] = tuple(step.key for step in starts)
            found += starts
        return found


def _running(step: ContainerStep, stopped: set[str]) -> ActualContainer | None:
    """The container of a step, where it is there already and goes on to run."""
    one = step.actual
    is_kept = step.action == KEEP and one is not None and one.state == "running" and one.id not in stopped
    return one if is_kept else None


def _after(step: ContainerStep, keys: tuple[str, ...]) -> ContainerStep:
    return ContainerStep(
        step.action, step.service, step.name, step.number, step.actual, step.reason, (*step.after, *keys)
    )
