"""Names of a project's containers and images."""

from __future__ import annotations

from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.model.service import Service


def container_name(project: Project, service: str, number: int) -> str:
    """`project-service-1`, or the `container_name` of the service."""
    given = project.services[service].container_name
    return given or project.separator.join((project.name, service, str(number)))


def image_name(project: Project, name: str) -> str:
    """The image of a service; one that is built has a name by its project and service."""
    return project.services[name].image or f"{project.name}{project.separator}{name}"


def replicas(name: str, service: Service) -> int:
    """How many containers a service has. Raises ComposeError for more than one of one name."""
    count = service.scale
    if count is None:
        count = service.deploy.replicas if service.deploy is not None else None
    count = 1 if count is None else count
    if count > 1 and service.container_name:
        raise ComposeError(
            f'WARNING: The "{name}" service is using the custom container name "{service.container_name}". Docker '
            "requires each container to have a unique name. Remove the custom name to scale the service",
            ("services", name, "container_name"),
        )
    return count
