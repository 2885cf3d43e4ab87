"""Which services of a project are meant: by profiles, and by their names with what they depend on."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection

import msgspec

from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.model.service import Service


def with_profiles(project: Project, profiles: list[str]) -> Project:
    """Enable the services of these profiles and those without one; `*` enables all."""
    services = project.all_services()
    enabled = {name: service for name, service in services.items() if _has_profile(service, profiles)}
    disabled = {name: service for name, service in services.items() if name not in enabled}
    return msgspec.structs.replace(project, services=enabled, disabled=disabled, profiles=profiles)


def _has_profile(service: Service, profiles: list[str]) -> bool:
    return not service.profiles or "*" in profiles or any(one in profiles for one in service.profiles)


def with_named_enabled(project: Project, names: list[str]) -> Project:
    """Services that are asked for by name enable their profiles."""
    profiles = list(project.profiles)
    for name in names:
        if name in project.disabled:
            profiles += project.disabled[name].profiles
    return with_profiles(project, profiles) if names else project


def with_selected(project: Project, names: list[str]) -> Project:
    """Only the named services and what they depend on. Raises ComposeError for a name that is none."""
    if not names:
        return project
    chosen: set[str] = set()
    pending = [(name, True) for name in names]
    while pending:
        name, is_required = pending.pop()
        found = [one for one in project.services if fnmatch.fnmatchcase(one, name)]
        if not found and is_required:
            raise ComposeError(f"no such service: {name}")
        for one in found:
            if one not in chosen:
                chosen.add(one)
                dependencies = project.services[one].depends_on
                pending += [(other, dependency.required) for other, dependency in dependencies.items()]
    kept = {name: service for name, service in project.services.items() if name in chosen}
    for service in kept.values():
        service.depends_on = {name: one for name, one in service.depends_on.items() if name in chosen}
    rest = {name: service for name, service in project.services.items() if name not in chosen}
    return msgspec.structs.replace(project, services=kept, disabled=project.disabled | rest)


def without_others(project: Project, names: Collection[str]) -> Project:
    """Only the named services, as if they depended on no others."""
    kept = {name: one for name, one in project.services.items() if name in names}
    kept = {
        name: msgspec.structs.replace(
            one, depends_on={other: found for other, found in one.depends_on.items() if other in kept}
        )
        for name, one in kept.items()
    }
    rest = {name: one for name, one in project.services.items() if name not in kept}
    return msgspec.structs.replace(project, services=kept, disabled=project.disabled | rest)


def without_unused(project: Project) -> Project:
    """Only the networks, volumes, secrets, configs and models that the enabled services use."""
    used: dict[str, set[str]] = {
        "networks": set(),
        "volumes": set(),
        "secrets": set(),
        "configs": set(),
        "models": set(),
    }
    for service in project.services.values():
        used["networks"] |= set(service.networks)
        used["volumes"] |= {one.source for one in service.volumes if one.type == "volume"}
        used["secrets"] |= {one.source for one in service.secrets}
        used["secrets"] |= {one.source for one in (service.build.secrets if service.build else ())}
        used["configs"] |= {one.source for one in service.configs}
        used["models"] |= set(service.models)
    kept = {
        kind: {name: one for name, one in getattr(project, kind).items() if name in names}
        for kind, names in used.items()
    }
    return msgspec.structs.replace(project, **kept)
