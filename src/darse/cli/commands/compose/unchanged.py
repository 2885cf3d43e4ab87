"""`up -d` of a project for which nothing is to be done, as for the last one: without reading it again.

What `up` does follows from the files of a project, the command line, the variables, and what the engine has of it. So
when an `up -d` finds nothing to do, that is remembered with all four; and while all four are the same, there is nothing
to do again. Reading a project and planning takes ten times as long as comparing these.

Only a project is remembered whose images are not asked for at a registry each time, and that gives no warnings.
"""

from __future__ import annotations

import os

from darse.cli.commands.compose.flags import deferred
from darse.cli.errors import ApiError
from darse.client.requests import containers as container_requests
from darse.client.requests import images as image_requests
from darse.client.requests import networks as network_requests
from darse.client.requests import volumes as volume_requests
from darse.client.stdlib import dumps, loads
from darse.compose import label_names as labels
from darse.compose.inputs import file_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from darse.cli.command_line.invocation import Invocation
    from darse.compose.model.project import Project
    from darse.compose.model.service import Service
    from darse.compose.operations.up import UpExecution

# Flags that do not say what is done, or say it by their values, which are compared.
_FLAGS = frozenset({"detach"})
_GROUP_FLAGS = frozenset({"file", "project_name", "profile", "env_file", "project_directory", "ansi", "progress"})


def up(invocation: Invocation) -> int | None:
    """Bring a project up, unless it is as it was when there was nothing to do. Raises CliError."""
    names = _remembered(invocation)
    if names is None:
        return deferred("up", "up")(invocation)
    from darse.cli.commands.compose.progress import chosen_progress
    from darse.compose.operations.progress import DONE, ResourceProgress

    progress = chosen_progress(invocation)
    for name in names:
        progress.show(ResourceProgress(f"Container {name}", "Running", DONE))
    progress.close()
    return 0


def remember(invocation: Invocation, project: Project, execution: UpExecution) -> None:
    """Remember that there was nothing to do, where that can be."""
    plan, actual = execution.plan, execution.actual
    if not _may_be_remembered(invocation) or plan.changes or plan.warnings:
        return
    if project.inputs.has_more or project.inputs.unsettled or not all(map(_is_settled, project.services.values())):
        return
    from darse.compose.desired.names import image_name

    networks = sorted(one.name for one in project.networks.values())
    volumes = sorted(one.name for one in project.volumes.values())
    document = {
        "project": project.name,
        "given": _given(invocation),
        "files": project.inputs.files,
        "images": sorted({(image_name(project, name), one.id) for name, one in execution.images.items()}),
        "networks": networks,
        "volumes": volumes,
        "state": _state(
            [
                _container(
                    one.id,
                    one.name,
                    one.state,
                    one.labels,
                    one.networks,
                    [(mount.Type, mount.Name or "", mount.Destination) for mount in one.mounts],
                )
                for one in actual.containers
            ],
            [(actual.networks[name].Id, actual.networks[name].Labels) for name in networks],
            [actual.volumes[name].Labels for name in volumes],
        ),
        "shown": [step.name for step in plan.containers],
    }
    from darse.cli.output.files import replacing

    path = _place(invocation)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with replacing(path) as file:
            file.write(dumps(document).encode())
    except OSError:
        return  # a home that cannot be written to: each `up` reads the project


def _is_settled(service: Service) -> bool:
    """Whether what its image is, and what a program provides, is not to be asked for each time."""
    return service.provider is None and service.pull_policy in ("", "missing", "if_not_present", "never")


def _remembered(invocation: Invocation) -> list[str] | None:
    """The containers of a project that is as it was; None where it is not, or nothing is known."""
    if not _may_be_remembered(invocation):
        return None
    try:
        with open(_place(invocation), encoding="utf-8") as file:
            record = loads(file.read())
        is_same = record["given"] == _given(invocation) and all(
            file_state(path) == state for path, state in record["files"].items()
        )
        if is_same and _state_now(invocation, record) == record["state"]:
            return [str(name) for name in record["shown"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # never remembered, or by another version
    return None


def _may_be_remembered(invocation: Invocation) -> bool:
    options, group = invocation.options, invocation.group_options
    given = set() if group is None else group.given
    return options.given == _FLAGS and options.detach and {one.replace("-", "_") for one in given} <= _GROUP_FLAGS


def _given(invocation: Invocation) -> str:
    """What a command line and the variables say, and who reads it: as a digest, since secrets are among variables."""
    from darse import __version__
    from darse.revision import identity

    group = invocation.group_options
    flags = {} if group is None else {name: value for name, value in vars(group).items() if name != "given"}
    variables = sorted(os.environ.items())
    return _digest([__version__, identity(), invocation.arguments, sorted(flags.items()), variables])


def _place(invocation: Invocation) -> str:
    """Where it is remembered: a file for each directory, files of projects, and engine."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    group = invocation.group_options
    where = [[], "", ""] if group is None else [group.file, group.project_name, group.project_directory]
    name = _digest([os.getcwd(), invocation.settings.endpoint().host, where])
    return os.path.join(cache, "darse", "compose", f"{name}.json")


def _state_now(invocation: Invocation, record: Mapping[str, Any]) -> str:
    """What the engine has of a project. Raises KeyError for an image, a network or a volume that is gone."""
    do = invocation.client.do
    filters = {"label": [f"{labels.PROJECT}={record['project']}", labels.CONFIG_HASH]}
    containers = do(container_requests.list_containers(all=True, filters=filters))
    networks, volumes = {}, {}
    if record["networks"]:
        networks = {one["Name"]: one for one in do(network_requests.list_networks())}
    if record["volumes"]:
        volumes = {one["Name"]: one for one in do(volume_requests.list_volumes())["Volumes"] or ()}
    for image, identifier in record["images"]:
        try:
            found = do(image_requests.inspect(image))
        except ApiError as error:
            raise KeyError(image) from error
        if found["Id"] != identifier:
            raise KeyError(image)
    return _state(
        [
            _container(
                one["Id"],
                next((name[1:] for name in one["Names"] if "/" not in name[1:]), one["Id"][:12]),
                one["State"],
                one["Labels"],
                {name: network["NetworkID"] for name, network in one["NetworkSettings"]["Networks"].items()},
                [(mount["Type"], mount.get("Name", ""), mount["Destination"]) for mount in one["Mounts"]],
            )
            for one in containers
        ],
        [(one["Id"], one["Labels"]) for one in map(networks.__getitem__, record["networks"])],
        [one["Labels"] for one in map(volumes.__getitem__, record["volumes"])],
    )


def _container(
    identifier: str,
    name: str,
    state: str,
    marks: Mapping[str, str],
    networks: Mapping[str, str],
    mounts: list[tuple[str, str, str]],
) -> tuple[object, ...]:
    """What the plan looks at."""
    return (identifier, name, state, sorted(marks.items()), sorted(networks.items()), mounts)


def _state(
    containers: list[tuple[object, ...]],
    networks: list[tuple[str, Mapping[str, str] | None]],
    volumes: list[Mapping[str, str] | None],
) -> str:
    return _digest(
        [
            sorted(containers),
            [(identifier, sorted((marks or {}).items())) for identifier, marks in networks],
            [sorted((marks or {}).items()) for marks in volumes],
        ]
    )


def _digest(value: object) -> str:
    try:
        from _blake2 import blake2b  # hashlib loads OpenSSL, which takes a quarter of the command's time
    except ImportError:
        from hashlib import blake2b
    return str(blake2b(dumps(value).encode(), digest_size=32).hexdigest())
