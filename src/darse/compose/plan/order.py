"""The order of services: by what they depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from darse.compose.model.project import Project
from darse.compose.plan.actual import ActualContainer


def dependencies(project: Project | None, containers: Iterable[ActualContainer]) -> dict[str, set[str]]:
    """On which services each service depends: by the project, and where it says nothing by the containers' labels."""
    found: dict[str, set[str]] = {}
    for one in containers:
        found.setdefault(one.service, set()).update(one.dependencies)
    if project is not None:
        found |= {name: set(service.depends_on) for name, service in project.services.items()}
    return {name: {other for other in others if other in found and other != name} for name, others in found.items()}


def ordered(graph: Mapping[str, set[str]]) -> list[str]:
    """The services, those that others depend on first; what runs in a circle comes as it is found."""
    found: dict[str, None] = {}
    for name in sorted(graph):
        pending = [(name, False)]
        open_: set[str] = set()
        while pending:
            one, is_ready = pending.pop()
            if is_ready:
                found[one] = None
            elif one not in found and one not in open_:
                open_.add(one)
                pending.append((one, True))
                pending += [(other, False) for other in sorted(graph.get(one, ()), reverse=True) if other in graph]
    return list(found)
