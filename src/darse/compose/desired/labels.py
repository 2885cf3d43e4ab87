"""The labels by which docker compose, and so darse, finds what belongs to a project."""

from __future__ import annotations

from darse.compose.model.project import Project
from darse.compose.model.service import Service
from darse.compose.output.hashes import service_hash

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONE_OFF = "com.docker.compose.oneoff"
CONFIG_HASH = "com.docker.compose.config-hash"
DEPENDS_ON = "com.docker.compose.depends_on"
IMAGE = "com.docker.compose.image"
CONFIG_FILES = "com.docker.compose.project.config_files"
WORKING_DIRECTORY = "com.docker.compose.project.working_dir"
ENVIRONMENT_FILE = "com.docker.compose.project.environment_file"
VERSION = "com.docker.compose.version"
REPLACES = "com.docker.compose.replace"
SLUG = "com.docker.compose.slug"
NETWORK = "com.docker.compose.network"
VOLUME = "com.docker.compose.volume"

# The release of docker compose whose labels and hashes these are.
CONVENTIONS = "2.40.3"


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
