"""A project: its services, and the networks, volumes, configs and secrets that they share."""

from __future__ import annotations

from typing import Any

import msgspec

from darse.compose.inputs import Inputs
from darse.compose.model.base import ModelPart
from darse.compose.model.build import Model
from darse.compose.model.service import Service


class IpamPool(ModelPart):
    """A subnet of a network."""

    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    aux_addresses: dict[str, str] = {}


class Ipam(ModelPart):
    """From where a network gets its addresses."""

    driver: str = ""
    config: list[IpamPool] = []


class ProjectNetwork(ModelPart):
    """A network of a project."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] = {}
    ipam: Ipam = msgspec.field(default_factory=Ipam)
    external: bool = False
    internal: bool = False
    attachable: bool = False
    labels: dict[str, str] = {}
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None


class ProjectVolume(ModelPart):
    """A volume of a project."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] = {}
    external: bool = False
    labels: dict[str, str] = {}


class FileObject(ModelPart):
    """A config or a secret of a project; `value` is that of a secret's environment variable, and never shown."""

    name: str = ""
    file: str = ""
    environment: str = ""
    content: str = ""
    external: bool = False
    labels: dict[str, str] = {}
    driver: str = ""
    driver_opts: dict[str, str] = {}
    template_driver: str = ""


class Project(msgspec.Struct, kw_only=True):
    """All that compose files say, normalised."""

    name: str
    services: dict[str, Service]
    networks: dict[str, ProjectNetwork] = {}
    volumes: dict[str, ProjectVolume] = {}
    secrets: dict[str, FileObject] = {}
    configs: dict[str, FileObject] = {}
    models: dict[str, Model] = {}
    extensions: dict[str, Any] = {}
    # Not part of the model that is shown: where it is from, and what it was made with.
    directory: str = ""
    files: list[str] = []
    env_files: list[str] = []
    environment: dict[str, str] = {}
    profiles: list[str] = []
    # Between the parts of the names of containers and images; version 1's is `_`.
    separator: str = "-"
    disabled: dict[str, Service] = {}
    inputs: Inputs = msgspec.field(default_factory=Inputs)

    def all_services(self) -> dict[str, Service]:
        """Those that no active profile has, too."""
        return self.services | self.disabled
