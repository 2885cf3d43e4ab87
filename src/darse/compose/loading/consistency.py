"""Checks of the whole model: what services refer to is there, and what excludes each other is not given together."""

from __future__ import annotations

from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.model.service import Service

_INVALID = ": invalid compose project"
_TESTS = ("CMD", "CMD-SHELL", "NONE")


def check_consistency(project: Project) -> None:
    """Raise ComposeError with the path of what is wrong."""
    for name, service in project.services.items():
        _check_image(project, name, service)
        _check_references(project, name, service)
        _check_dependencies(project, name, service)
        _check_limits(name, service)
        _check_mounts(name, service)
    for name, secret in project.secrets.items():
        if not secret.external and not secret.file and not secret.environment:
            raise ComposeError(
                f'secret "{name}" must declare either `file` or `environment`{_INVALID}', ("secrets", name)
            )
    _check_circles(project)


def check_container_names(project: Project) -> None:
    """Raise ComposeError when two services have one container name."""
    names: dict[str, str] = {}
    for name, service in project.services.items():
        if service.container_name:
            other = names.setdefault(service.container_name, name)
            if other != name:
                raise ComposeError(
                    f'services.{name}: container name "{service.container_name}" is already in use by service {other}',
                    ("services", name, "container_name"),
                )


def _check_image(project: Project, name: str, service: Service) -> None:
    path = ("services", name)
    build = service.build
    if build is None:
        if not service.image and service.provider is None:
            raise ComposeError(f'service "{name}" has neither an image nor a build context specified{_INVALID}', path)
        return
    if build.dockerfile and build.dockerfile_inline:
        raise ComposeError(
            f'service "{name}" declares mutualy exclusive dockerfile and dockerfile_inline{_INVALID}', (*path, "build")
        )
    for context, source in build.additional_contexts.items():
        if source.startswith("service:"):
            target = project.services.get(source.removeprefix("service:"))
            if target is None or target.build is None:
                kind = "unknown" if target is None else "non-buildable"
                raise ComposeError(
                    f'service "{name}" declares {kind} service "{source[8:]}" as additional contexts {context}',
                    (*path, "build", "additional_contexts", context),
                )
    if build.platforms and service.platform and service.platform not in build.platforms:
        raise ComposeError(
            f'service.build.platforms MUST include service.platform "{service.platform}"{_INVALID}', (*path, "platform")
        )


def _check_references(project: Project, name: str, service: Service) -> None:
    path = ("services", name)
    if service.network_mode and service.networks:
        raise ComposeError(
            f"service {name} declares mutually exclusive `network_mode` and `networks`{_INVALID}",
            (*path, "network_mode"),
        )
    volumes = [one.source for one in service.volumes if one.type == "volume" and one.source]
    build_secrets = [one.source for one in service.build.secrets] if service.build else []
    kinds = (
        ("network", "networks", list(service.networks), project.networks),
        ("volume", "volumes", volumes, project.volumes),
        ("build secret", "build", build_secrets, project.secrets),
        ("config", "configs", [one.source for one in service.configs], project.configs),
        ("model", "models", list(service.models), project.models),
        ("secret", "secrets", [one.source for one in service.secrets], project.secrets),
    )
    for kind, attribute, references, known in kinds:
        for reference in references:
            if reference not in known:
                raise ComposeError(
                    f'service "{name}" refers to undefined {kind} {reference}{_INVALID}', (*path, attribute, reference)
                )
    if service.healthcheck and service.healthcheck.test and service.healthcheck.test[0] not in _TESTS:
        raise ComposeError(
            'healthcheck.test must start either by "CMD", "CMD-SHELL" or "NONE"', (*path, "healthcheck", "test")
        )


def _check_dependencies(project: Project, name: str, service: Service) -> None:
    for other, dependency in service.depends_on.items():
        if other in project.services or (other in project.disabled and not dependency.required):
            continue
        raise ComposeError(
            f'service "{name}" depends on undefined service "{other}"{_INVALID}',
            ("services", name, "depends_on", other),
        )
    if service.network_mode.startswith("service:"):
        other = service.network_mode.removeprefix("service:")
        if other not in project.services:
            raise ComposeError(
                f"service \"{other}\" not found for network_mode 'service:{other}'", ("services", name, "network_mode")
            )


def _check_limits(name: str, service: Service) -> None:
    path = ("services", name)
    deploy = service.deploy
    if service.scale is not None and deploy is not None:
        if deploy.replicas is not None and deploy.replicas != service.scale:
            raise _distinct(name, "scale", "deploy.replicas")
        deploy.replicas = service.scale
    if service.scale is not None and service.scale < 0:
        raise ComposeError(f"services.{name}.scale: must be greater than or equal to 0", (*path, "scale"))
    if deploy is not None and deploy.replicas is not None and deploy.replicas < 0:
        raise ComposeError(
            f"services.{name}.deploy.replicas: must be greater than or equal to 0", (*path, "deploy", "replicas")
        )
    if deploy is not None:
        _check_deploy_limits(name, service)
    scale = service.scale if service.scale is not None else deploy.replicas if deploy else None
    if scale is not None and scale > 1 and service.container_name:
        attribute = "scale" if service.scale is not None else "deploy.replicas"
        raise ComposeError(
            f"services.{name}: can't set container_name and {attribute} as container name must be unique{_INVALID}",
            (*path, "container_name"),
        )
    for number, watch in enumerate(service.develop.watch if service.develop else ()):
        if not watch.target and watch.action not in ("rebuild", "restart"):
            raise ComposeError(
                f"services.{name}.develop.watch: target is required for non-rebuild actions{_INVALID}",
                (*path, "develop", "watch", number),
            )


def _check_deploy_limits(name: str, service: Service) -> None:
    """What may be said in two places must be the same in both."""
    assert service.deploy is not None
    limits, reservations = service.deploy.resources.limits, service.deploy.resources.reservations
    pairs = []
    if limits is not None:
        pairs = [
            ("cpus", service.cpus, "limits.cpus", limits.cpus),
            ("mem_limit", service.mem_limit, "limits.memory", limits.memory),
            ("pids_limit", service.pids_limit, "limits.pids", limits.pids),
        ]
    if reservations is not None:
        pairs.append(("mem_reservation", service.mem_reservation, "reservations.memory", reservations.memory))
    for attribute, value, other, other_value in pairs:
        if value and value != other_value:
            raise _distinct(name, attribute, f"deploy.resources.{other}")


def _distinct(name: str, attribute: str, other: str) -> ComposeError:
    return ComposeError(
        f"services.{name}: can't set distinct values on '{attribute}' and '{other}'{_INVALID}",
        ("services", name, attribute),
    )


def _check_mounts(name: str, service: Service) -> None:
    mounts: dict[str, str] = {}
    targets = [(f"tmpfs[{number}]", text.partition(":")[0]) for number, text in enumerate(service.tmpfs)]
    targets += [(f"volumes[{number}]", volume.target) for number, volume in enumerate(service.volumes)]
    for place, target in targets:
        where = f"services.{name}.{place}"
        other = mounts.setdefault(target, where)
        if other != where:
            raise ComposeError(
                f"{where}: target {target} already mounted as {other}", ("services", name, place.partition("[")[0])
            )


def _check_circles(project: Project) -> None:
    done: set[str] = set()
    for start in project.services:
        # Depth first, without recursion: a chain of services may be longer than the interpreter recurses.
        trail: list[str] = []
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, is_left = stack.pop()
            if is_left:
                done.add(trail.pop())
                continue
            if name in trail:
                loop = " -> ".join([*trail[trail.index(name) :], name])
                raise ComposeError(f"dependency cycle detected: {loop}", ("services", trail[-1], "depends_on", name))
            if name in done or name not in project.services:
                continue
            trail.append(name)
            stack.append((name, True))
            stack += [(other, False) for other in project.services[name].depends_on]
