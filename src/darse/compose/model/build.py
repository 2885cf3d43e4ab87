"""How an image is built, and what is watched while it is developed."""

from __future__ import annotations

import msgspec

from darse.compose.model.base import ModelPart
from darse.compose.model.quantities import ByteCount, FileMode


class FileReference(ModelPart):
    """A config or a secret, mounted in a container or a build."""

    source: str = ""
    target: str = ""
    uid: str = ""
    gid: str = ""
    mode: FileMode | None = None


class ServiceUlimit(ModelPart):
    """A limit of a resource: one number, or two."""

    single: int = 0
    soft: int = 0
    hard: int = 0


class Build(ModelPart):
    """`build` of a service."""

    context: str = ""
    dockerfile: str = ""
    dockerfile_inline: str = ""
    entitlements: list[str] = []
    args: dict[str, str | None] = {}
    provenance: str = ""
    sbom: str = ""
    ssh: dict[str, str | None] = {}
    labels: dict[str, str] = {}
    cache_from: list[str] = []
    cache_to: list[str] = []
    no_cache: bool = False
    additional_contexts: dict[str, str] = {}
    pull: bool = False
    extra_hosts: dict[str, list[str]] = {}
    isolation: str = ""
    network: str = ""
    target: str = ""
    secrets: list[FileReference] = []
    shm_size: ByteCount = ByteCount(0)
    tags: list[str] = []
    ulimits: dict[str, ServiceUlimit] = {}
    platforms: list[str] = []
    privileged: bool = False


class ServiceHook(ModelPart):
    """A command that is run in a container after its start, or before its stop."""

    command: list[str] | None = None
    user: str = ""
    privileged: bool = False
    working_dir: str = ""
    environment: dict[str, str | None] = {}


class Watch(ModelPart):
    """One path that is watched, and what is done on a change."""

    path: str = ""
    action: str = ""
    target: str = ""
    exec: ServiceHook = msgspec.field(default_factory=ServiceHook)
    include: list[str] = []
    ignore: list[str] = []
    initial_sync: bool = False


class Develop(ModelPart):
    """`develop` of a service."""

    watch: list[Watch] = []


class Provider(ModelPart):
    """A program that provides a service in the place of a container."""

    type: str = ""
    options: dict[str, list[str]] = {}


class ServiceModel(ModelPart):
    """A model that a service uses, and the variables that it gets for it."""

    endpoint_var: str = ""
    model_var: str = ""


class Model(ModelPart):
    """A model of machine learning at the top of a file."""

    name: str = ""
    model: str = ""
    context_size: int = 0
    runtime_flags: list[str] = []
