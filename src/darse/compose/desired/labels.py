"""The labels by which docker compose, and so darse, finds what belongs to a project."""

from __future__ import annotations

from darse.compose.label_names import (
    CONFIG_FILES,
    CONFIG_HASH,
    CONVENTIONS,
    DEPENDS_ON,
    ENVIRONMENT_FILE,
    IMAGE,
    NETWORK,
    NUMBER,
    ONE_OFF,
    PROJECT,
    REPLACES,
    SERVICE,
    SLUG,
    VERSION,
    VOLUME,
    WORKING_DIRECTORY,
)
from darse.compose.model.project import Project
from darse.compose.model.service import Service
from darse.compose.output.hashes import service_hash

__all__ = [
    "CONFIG_FILES",
    "CONFIG_HASH",
    "CONVENTIONS",
    "DEPENDS_ON",
    "ENVIRONMENT_FILE",
    "IMAGE",
    "NETWORK",
    "NUMBER",
    "ONE_OFF",
    "PROJECT",
    "REPLACES",
    "SERVICE",
    "SLUG",
    "VERSION",
    "VOLUME",
    "WORKING_DIRECTORY",
    "container_labels",
]


def container_labels(
    project: Project, service: str, hashed: Service, *, number: int, image: str = "", one_off: bool = False
) -> dict[str, str]:
    """The labels of a service's container; `hashed` has its references to other containers resolved.

    `image` is the id of the image; a one-off container (`run`) has no number.
    """
    depends = (f"{name}:{one.condition}:{str(one.restart).lower()}" for name, one in hashed.depends_on.items())
    found = {
        PROJECT: project.name,
        SERVICE: service,
        VERSION: CONVENTIONS,
        WORKING_DIRECTORY: project.directory,
        CONFIG_FILES: ",".join(project.files),
        ONE_OFF: "True" if one_off else "False",
        CONFIG_HASH: service_hash(hashed),
        DEPENDS_ON: ",".join(depends),
    }
    if number:
        found[NUMBER] = str(number)
    if image:
        found[IMAGE] = image
    if project.env_files:
        found[ENVIRONMENT_FILE] = ",".join(project.env_files)
    return hashed.labels | found
