"""`darse compose config`: the model of a project as it is understood, in docker compose's canonical form."""

from __future__ import annotations

import sys
from typing import Any

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.flags import project_files
from darse.cli.errors import CliError
from darse.compose.errors import ComposeError
from darse.compose.loading.consistency import check_container_names
from darse.compose.loading.loader import LoadSettings
from darse.compose.model.project import Project
from darse.compose.project import ProjectFiles

_FORMATS = ("", "yaml", "json")


def config(invocation: Invocation) -> int:
    """Print the model, or one of its lists."""
    if invocation.options.format not in _FORMATS:
        raise CliError(f'unsupported format "{invocation.options.format}"')
    try:
        text = _text(invocation, project_files(invocation))
    except ComposeError as error:
        raise CliError(str(error)) from error
    if invocation.options.quiet or not text:
        return 0
    if invocation.options.output:
        try:
            with open(invocation.options.output, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise CliError(f"open {invocation.options.output}: {(error.strerror or '').lower()}") from error
        return 0
    sys.stdout.write(text)
    return 0


def _text(invocation: Invocation, files: ProjectFiles) -> str:
    options = invocation.options
    settings = LoadSettings(
        interpolate=not options.no_interpolate,
        resolve_paths=not options.no_path_resolution,
        normalize=not options.no_normalize,
    )
    if options.variables:
        return _variables(files, options.format)
    lists = [name for name in _LISTS if getattr(options, name)]
    if options.no_interpolate and not lists:
        return _document(files, settings, invocation)
    only_lists = bool(lists) and not options.environment
    resolve = not options.no_env_resolution and not only_lists
    if lists and options.no_interpolate:
        # A list needs the typed model, which has no place for variables in numbers.
        raise CliError(f"--{lists[0]} and --no-interpolate exclude each other")
    services = [] if options.services or options.volumes or options.hash else invocation.arguments
    project = files.project(services, settings, check=not options.no_consistency, resolve=resolve)
    if lists:
        return "".join(f"{line}\n" for line in _LISTS[lists[0]](project, options))
    if not options.no_consistency:
        check_container_names(project)
    if options.resolve_image_digests or options.lock_image_digests:
        pin_images(invocation, project)
    if options.lock_image_digests:
        return _images_alone(project, options.format)
    return "" if options.quiet else _model(project, options.format)


def _model(project: Project, form: str) -> str:
    from darse.compose.output.encode import project_json, project_yaml
    from darse.compose.yaml.writer import write

    text = project_json(project) + "\n" if form == "json" else write(project_yaml(project))
    # So that what was printed can be read again: a dollar is two.
    return text.replace("$", "$$")


def pin_images(invocation: Invocation, project: Project) -> None:
    """Give each image the digest that its registry, or the engine's own, has for it. Raises CliError."""
    from darse.client.requests import images
    from darse.image_spec.references import split

    for service in project.services.values():
        if not service.image:
            continue
        reference = split(service.image).tagged()
        if reference.digest:
            reference = reference._replace(tag="")
        else:
            found = invocation.client.do(images.distribution(str(reference)))
            reference = reference._replace(digest=found["Descriptor"]["digest"])
        service.image = str(reference)


def _images_alone(project: Project, form: str) -> str:
    """A file that sets nothing but the images."""
    from darse.compose.output.encode import go_json
    from darse.compose.yaml.writer import write

    images = {name: {"image": one.image} if one.image else {} for name, one in sorted(project.services.items())}
    document = {"services": images}
    return go_json(document, indent=2) + "\n" if form == "json" else write(document)


def _variables(files: ProjectFiles, form: str) -> str:
    """The variables that the files use."""
    from darse.cli.output.table import align
    from darse.compose.interpolation.template import InvalidTemplate, Variable, variables
    from darse.compose.output.encode import go_json

    found: dict[str, Variable] = {}

    def look(value: Any) -> None:
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(one)
        for variable in variables(value) if isinstance(value, str) else ():
            known = found.setdefault(variable.name, variable)
            if not (known.default or known.alternate or known.is_required):
                found[variable.name] = variable

    _, document = files.document(LoadSettings(interpolate=False, resolve_paths=False, normalize=False))
    try:
        look(document)
    except InvalidTemplate as error:
        raise ComposeError(f"invalid interpolation format\n{error}") from error
    members = ("Name", "DefaultValue", "PresenceValue", "Required")
    shown = {
        name: dict(zip(members, (name, one.default, one.alternate, one.is_required), strict=True))
        for name, one in sorted(found.items())
    }
    if form == "json":
        return go_json(shown, indent=4) + "\n"
    if form == "yaml":
        from darse.compose.yaml.writer import write

        text = write({name: {key.lower(): value for key, value in one.items()} for name, one in shown.items()})
        return text.replace("\n  ", "\n    ")
    lines = ["NAME\tREQUIRED\tDEFAULT VALUE\tALTERNATE VALUE"]
    lines += [
        f"{name}\t{'true' if one.is_required else 'false'}\t{one.default}\t{one.alternate}"
        for name, one in sorted(found.items())
    ]
    return align("".join(f"{line}\n" for line in lines), minimum=20, padding=3)


def _document(files: ProjectFiles, settings: LoadSettings, invocation: Invocation) -> str:
    """The model with its variables as they are written."""
    from darse.compose.output.encode import go_json, in_json, ordered
    from darse.compose.yaml.writer import write

    _, document = files.document(settings)
    if invocation.options.format == "json":
        return go_json(in_json(document), indent=2) + "\n"
    return write(ordered(document))


def _services(project: Project, _options: Any) -> list[str]:
    """The names, those that others depend on first."""
    found: list[str] = []
    pending = sorted(project.services, reverse=True)
    while pending:
        name = pending.pop()
        if name in found or name not in project.services:
            continue
        before = [one for one in sorted(project.services[name].depends_on, reverse=True) if one in project.services]
        missing = [one for one in before if one not in found]
        if missing:
            pending += [name, *missing]
        else:
            found.append(name)
    return found


def _hashes(project: Project, options: Any) -> list[str]:
    from darse.compose.output.hashes import service_hash

    names = sorted(project.services) if options.hash == "*" else sorted(options.hash.split(","))
    platform = project.environment.get("DOCKER_DEFAULT_PLATFORM", "")
    lines = []
    for name in names:
        service = project.services.get(name)
        if service is None:
            raise ComposeError(f"no such service: {name}")
        service.platform = service.platform or platform
        lines.append(f"{name} {service_hash(service)}")
    return lines


def _images(project: Project, _options: Any) -> list[str]:
    return [service.image or f"{project.name}-{name}" for name, service in sorted(project.services.items())]


def _profiles(project: Project, _options: Any) -> list[str]:
    return sorted({profile for service in project.all_services().values() for profile in service.profiles})


def _environment(project: Project, _options: Any) -> list[str]:
    return sorted(f"{key}={value}" for key, value in project.environment.items())


_LISTS: dict[str, Any] = {
    "services": _services,
    "volumes": lambda project, _options: sorted(project.volumes),
    "hash": _hashes,
    "profiles": _profiles,
    "images": _images,
    "environment": _environment,
    "networks": lambda project, _options: sorted(project.networks),
    "models": lambda project, _options: sorted(project.models),
}
