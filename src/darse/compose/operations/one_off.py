"""One-off containers: `run`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import msgspec

from darse.client.requests import containers as container_requests
from darse.compose.desired import labels
from darse.compose.desired.create_request import ContainerContext, create_request
from darse.compose.desired.mounts import file_contents
from darse.compose.errors import ComposeError
from darse.compose.model.service import Service, ServicePort, ServiceVolume
from darse.compose.operations.hooks import credentials, put_files
from darse.compose.operations.images import ImageFacts
from darse.compose.operations.session import ProjectSession


@dataclass(frozen=True)
class RunOptions:
    """What differs from the service's own containers; None leaves what the service says."""

    command: list[str] | None = None
    entrypoint: list[str] | None = None
    environment: dict[str, str | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    cap_add: list[str] = field(default_factory=list)
    cap_drop: list[str] = field(default_factory=list)
    volumes: list[ServiceVolume] = field(default_factory=list)
    ports: list[ServicePort] = field(default_factory=list)
    name: str = ""
    user: str = ""
    working_dir: str = ""
    tty: bool = False
    interactive: bool = True
    service_ports: bool = False
    use_aliases: bool = False
    remove: bool = False


def run_service(service: Service, options: RunOptions) -> Service:
    """The service that a one-off container is made from."""
    added = {one.target for one in options.volumes}
    deploy = service.deploy
    if deploy is not None:
        deploy = msgspec.structs.replace(deploy, restart_policy=None, replicas=None)
    changes: dict[str, object] = {
        "scale": 1,
        "restart": "",
        "deploy": deploy,
        "container_name": "",
        "tty": options.tty,
        "stdin_open": options.interactive,
        "environment": service.environment | options.environment,
        "labels": service.labels | options.labels,
        "cap_add": [*service.cap_add, *options.cap_add],
        "cap_drop": [*service.cap_drop, *options.cap_drop],
        "volumes": [*(one for one in service.volumes if one.target not in added), *options.volumes],
        "ports": [*(service.ports if options.service_ports else ()), *options.ports],
    }
    if options.entrypoint is not None:
        # A new entry point does not take the old command.
        changes |= {"entrypoint": options.entrypoint, "command": options.command or []}
    elif options.command:
        changes["command"] = options.command
    if options.user:
        changes["user"] = options.user
    if options.working_dir:
        changes["working_dir"] = options.working_dir
    return msgspec.structs.replace(service, **changes)


async def create_one_off(
    session: ProjectSession, service: str, options: RunOptions, facts: ImageFacts
) -> tuple[str, str]:
    """Create a one-off container of a service; return its name and id. Raises ComposeError and ClientError."""
    project = session.project
    if project is None:
        raise ComposeError("no configuration file provided: not found")
    slug = secrets.token_hex(32)
    name = options.name or project.separator.join((project.name, service, "run", slug[:12]))
    changed = msgspec.structs.replace(
        project, services=project.services | {service: run_service(project.services[service], options)}
    )
    ids: dict[str, str] = {}
    linked: dict[str, list[str]] = {}
    for one in reversed(await session.containers(one_off=False)):
        ids[one.service] = one.id
        linked.setdefault(one.service, []).append(one.name)
    context = ContainerContext(
        facts.id,
        facts.volumes,
        ids,
        linked,
        api_socket=session.api_socket,
        has_credentials=bool(project.services[service].use_api_socket and session.docker_config),
    )
    config = create_request(changed, service, name, 0, context, one_off=True, with_aliases=options.use_aliases)
    config.AttachStdin = options.interactive
    config.Labels = {**(config.Labels or {}), labels.SLUG: slug}
    config.HostConfig.AutoRemove = options.remove
    created = await session.client.do(
        container_requests.create(config, name=name, platform=project.services[service].platform)
    )
    for warning in created.Warnings:
        session.warn(warning)
    own = changed.services[service]
    await put_files(session, created.Id, [*file_contents(changed, own), *credentials(session, own)])
    return name, created.Id
