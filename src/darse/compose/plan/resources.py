"""Which networks and volumes are made, and which are recreated."""

from __future__ import annotations

from darse.compose.desired import labels
from darse.compose.desired.resources import network_hash, volume_hash
from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.plan.actual import ActualState
from darse.compose.plan.steps import CREATE, KEEP, RECREATE, ResourceStep


def resource_steps(project: Project, actual: ActualState, warnings: list[str]) -> list[ResourceStep]:
    """The steps for all networks and volumes. Raises ComposeError for an external one that is missing."""
    return [
        *(_network(project, key, actual, warnings) for key in sorted(project.networks)),
        *(_volume(project, key, actual, warnings) for key in sorted(project.volumes)),
    ]


def _network(project: Project, key: str, actual: ActualState, warnings: list[str]) -> ResourceStep:
    network = project.networks[key]
    found = actual.networks.get(network.name)
    if network.external:
        if found is None:
            raise ComposeError(
                f"network {network.name} declared as external, but could not be found", ("networks", key)
            )
        return ResourceStep("network", KEEP, key, network.name)
    if found is None:
        return ResourceStep("network", CREATE, key, network.name)
    seen = found.Labels or {}
    owner, label = seen.get(labels.PROJECT, ""), seen.get(labels.NETWORK, "")
    if not owner and not label:
        warnings.append(
            f"a network with name {network.name} exists but was not created by compose.\n"
            "Set `external: true` to use an existing network"
        )
    elif owner != project.name:
        warnings.append(
            f'a network with name {network.name} exists but was not created for project "{project.name}".\n'
            "Set `external: true` to use an existing network"
        )
    elif label != key:
        raise ComposeError(
            f"network {network.name} was found but has incorrect label {labels.NETWORK} set to "
            f'"{label}" (expected: "{key}")',
            ("networks", key),
        )
    elif seen.get(labels.CONFIG_HASH, network_hash(network)) != network_hash(network):
        return ResourceStep("network", RECREATE, key, network.name, "its configuration changed")
    return ResourceStep("network", KEEP, key, network.name)


def _volume(project: Project, key: str, actual: ActualState, warnings: list[str]) -> ResourceStep:
    volume = project.volumes[key]
    found = actual.volumes.get(volume.name)
    if volume.external:
        if found is None:
            raise ComposeError(f'external volume "{volume.name}" not found', ("volumes", key))
        return ResourceStep("volume", KEEP, key, volume.name)
    if found is None:
        return ResourceStep("volume", CREATE, key, volume.name)
    seen = found.Labels or {}
    owner = seen.get(labels.PROJECT, "")
    if not owner:
        warnings.append(
            f'volume "{volume.name}" already exists but was not created by Docker Compose. '
            "Use `external: true` to use an existing volume"
        )
    elif owner != project.name:
        warnings.append(
            f'volume "{volume.name}" already exists but was created for project "{owner}" (expected '
            f'"{project.name}"). Use `external: true` to use an existing volume'
        )
    elif seen.get(labels.CONFIG_HASH, volume_hash(volume)) != volume_hash(volume):
        # A volume is its data: nobody loses it for a changed option.
        warnings.append(
            f'Volume "{volume.name}" exists but doesn\'t match configuration in compose file. It is kept as it is: '
            f"`darse compose down` and `darse volume rm {volume.name}` remove it with its data"
        )
    return ResourceStep("volume", KEEP, key, volume.name)
