"""Networks and volumes of a project, as requests that create them."""

from __future__ import annotations

import hashlib

import msgspec

from darse.compose.desired import labels
from darse.compose.model.project import ProjectNetwork, ProjectVolume
from darse.compose.output.encode import go_json, in_json
from darse.wire.networks import IPAM, IPAMConfig, NetworkCreate
from darse.wire.volumes import VolumeCreate


def network_hash(network: ProjectNetwork) -> str:
    """The label `com.docker.compose.config-hash` of a network."""
    return _hash(network)


def volume_hash(volume: ProjectVolume) -> str:
    """The label `com.docker.compose.config-hash` of a volume."""
    return _hash(msgspec.structs.replace(volume, driver=volume.driver or "local"))


def network_request(project: str, key: str, network: ProjectNetwork) -> NetworkCreate:
    """The request that creates a network of a project."""
    ipam = None
    if network.ipam.driver or network.ipam.config:
        pools = [
            IPAMConfig(one.subnet, one.ip_range, one.gateway, one.aux_addresses or None) for one in network.ipam.config
        ]
        ipam = IPAM(Driver=network.ipam.driver or "default", Config=pools)
    return NetworkCreate(
        Name=network.name,
        Driver=network.driver,
        Internal=network.internal,
        Attachable=network.attachable,
        IPAM=ipam,
        EnableIPv4=network.enable_ipv4,
        EnableIPv6=network.enable_ipv6,
        Options=network.driver_opts or None,
        Labels=network.labels | _labels(project) | {labels.NETWORK: key, labels.CONFIG_HASH: network_hash(network)},
    )


def volume_request(project: str, key: str, volume: ProjectVolume) -> VolumeCreate:
    """The request that creates a volume of a project."""
    return VolumeCreate(
        Name=volume.name,
        Driver=volume.driver,
        DriverOpts=volume.driver_opts or None,
        Labels=volume.labels | _labels(project) | {labels.VOLUME: key, labels.CONFIG_HASH: volume_hash(volume)},
    )


def _labels(project: str) -> dict[str, str]:
    return {labels.PROJECT: project, labels.VERSION: labels.CONVENTIONS}


def _hash(part: ProjectNetwork | ProjectVolume) -> str:
    return hashlib.sha256(go_json(in_json(part)).encode()).hexdigest()
