"""`darse compose bridge`: a project as something else, made by an image that has a transformation.

Such an image reads the project from /in/compose.yaml and writes what it makes of it to /out; its templates are in
/templates. Docker's own make Kubernetes' manifests and Helm's charts; `com.docker.compose.bridge` marks them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

from darse.cli.command_line.flags import Command, listing, string, switch
from darse.cli.command_line.invocation import Invocation, confirm
from darse.cli.commands.compose.flags import DRY_RUN, warn
from darse.cli.commands.compose.progress import is_dry_run
from darse.cli.commands.compose.projects import load
from darse.cli.errors import ApiError, CliError
from darse.client.requests import containers, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.images import ImageInspectDocument
    from darse.compose.model.project import FileObject, Project

_KUBERNETES = "docker/compose-bridge-kubernetes"
_BASE = "docker/compose-bridge-transformer"
_LABEL = "com.docker.compose.bridge=transformation"
_NOT_FOUND = 404
_NO_SIZE = "<none>"


def convert(invocation: Invocation) -> int:
    """Have images make something else of the project, one after the other. Raises CliError."""
    from darse.compose.output.encode import project_yaml
    from darse.compose.yaml.writer import write

    options = invocation.options
    project = load(invocation, [])
    _complete(invocation, project)
    text = write(project_yaml(project))
    if is_dry_run(invocation):
        return 0
    output = os.path.abspath(options.output)
    _empty(output, agreed=options.yes)
    for image in options.transformation or [_KUBERNETES]:
        _inspected(invocation, image)
        with tempfile.TemporaryDirectory(prefix="compose-convert-") as directory:
            with open(os.path.join(directory, "compose.yaml"), "w", encoding="utf-8") as file:
                file.write(text)
            status = _transform(invocation, image, directory, output, options.templates)
        if status:
            raise CliError(f"{image}: the transformation ended with {status}")
    return 0


def _transform(invocation: Invocation, image: str, source: str, output: str, templates: str) -> int:
    """Run a transformation as the user of the command, so that what it writes is theirs; return its exit status."""
    from darse.cli.commands.compose.containers import run_command

    mounts = [(source, "/in"), (output, "/out")]
    if templates:
        mounts.append((os.path.abspath(templates), "/templates"))
    words = ["--rm", "--pull=never", "--user", str(os.getuid()), "--env", "LICENSE_AGREEMENT=true"]
    words += [word for path, place in mounts for word in ("--mount", f'type=bind,"source={path}",target={place}')]
    return run_command(invocation, "container run", [*words, image])


def _complete(invocation: Invocation, project: Project) -> None:
    """Put in what the files leave to others: images, the ports that these expose, what is in configs and secrets."""
    from darse.compose.desired.names import image_name

    for name, service in project.services.items():
        if service.provider is not None:
            continue
        is_built = service.build is not None and not service.image
        service.image = image_name(project, name)
        found = _inspected(invocation, service.image, may_be_missing=is_built)
        if found is None:
            warn(
                f"image {service.image} for service {name} is not there: the ports that its Dockerfile exposes are "
                "left out; `darse compose build` makes it"
            )
        exposed = {key.partition("/")[0] for key in (found or {}).get("Config", {}).get("ExposedPorts") or {}}
        exposed |= {str(port.target) for port in service.ports}
        service.expose = [*service.expose, *sorted(exposed - set(service.expose), key=lambda one: (len(one), one))]
    for one in (*project.configs.values(), *project.secrets.values()):
        if not one.external:
            _fill(one, project)


def _fill(one: FileObject, project: Project) -> None:
    if one.environment:
        one.content = project.environment.get(one.environment, "")
    elif one.file:
        try:
            with open(one.file, encoding="utf-8") as file:
                one.content = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"{one.file}: {error}") from error


def _inspected(invocation: Invocation, image: str, *, may_be_missing: bool = False) -> ImageInspectDocument | None:
    """An image, which is pulled where it is missing; None where it may be missing and is."""
    from darse.cli.commands.compose.containers import run_command

    try:
        found = invocation.client.do(images.inspect(image))
    except ApiError as error:
        if error.http_status != _NOT_FOUND:
            raise
        if may_be_missing:
            return None
        run_command(invocation, "image pull", ["--quiet", image])
        found = invocation.client.do(images.inspect(image))
    return found


def _empty(output: str, *, agreed: bool) -> None:
    """Have an empty directory; what is in it goes only when that is agreed to. Raises CliError."""
    from pathlib import Path

    from darse.linux.fs.contained import remove_tree

    try:
        entries = os.listdir(output)
    except FileNotFoundError:
        entries = []
    except OSError as error:
        raise CliError(f"{output}: {error.strerror}") from error
    question = f"Output directory '{output}' is not empty, all its content will be permanently deleted. Continue?"
    if entries and not agreed and not confirm(question):
        raise CliError(f"deletion of output directory '{output}' was not confirmed")
    try:
        if entries:
            remove_tree(Path(output))
        os.makedirs(output, mode=0o755, exist_ok=True)
    except OSError as error:
        raise CliError(f"{output}: {error.strerror}") from error


def transformations(invocation: Invocation) -> int:
    """List the images that have a transformation. Raises CliError."""
    from darse.cli.output.table import align
    from darse.units import human_size

    options = invocation.options
    if options.format not in ("table", "json"):
        raise CliError(f"format value {json.dumps(options.format)} could not be parsed")
    found = invocation.client.do(images.list_images(filters={"label": [_LABEL]}))
    if options.quiet:
        sys.stdout.writelines(f"{(one['RepoTags'] or [one['Id']])[0]}\n" for one in found)
        return 0
    if options.format == "json":
        sys.stdout.write(f"{json.dumps(found, separators=(',', ':'))}\n")
        return 0
    lines = ["IMAGE ID\tREPO\tTAGS\tSIZE"]
    for one in found:
        name, _, tag = (one["RepoTags"] or [f"{_NO_SIZE}:{_NO_SIZE}"])[0].rpartition(":")
        lines.append(f"{one['Id'].removeprefix('sha256:')[:12]}\t{name}\t{tag}\t{human_size(one['Size'])}")
    sys.stdout.write(align("".join(f"{line}\n" for line in lines), minimum=20, padding=3))
    return 0


def create(invocation: Invocation) -> int:
    """Make a directory from which a transformation of one's own is built, with the templates of another's."""
    from darse.cli.commands.compose.containers import run_command

    (path,) = invocation.arguments
    output = os.path.abspath(path)
    source = invocation.options.from_ or _KUBERNETES
    if os.path.lexists(output):
        raise CliError(f"output folder {output} already exists")
    if is_dry_run(invocation):
        return 0
    _inspected(invocation, source)
    # Nothing of it runs: a container is where an image's files are copied from.
    made = invocation.client.do(containers.create({"Image": source, "Cmd": ["true"]}))["Id"]
    try:
        os.makedirs(output, mode=0o755)
        run_command(invocation, "container cp", ["--quiet", f"{made}:/templates", os.path.join(output, "templates")])
        with open(os.path.join(output, "Dockerfile"), "w", encoding="utf-8") as file:
            file.write(f"FROM {_BASE}\nLABEL {_LABEL}\nCOPY templates /templates\n")
    except OSError as error:
        raise CliError(f"{output}: {error.strerror}") from error
    finally:
        invocation.client.do(containers.remove(made, force=True, volumes=True))
    sys.stdout.write(f'Transformer created in "{output}"\n')
    return 0


COMMANDS = {
    "compose bridge convert": (
        Command(
            "compose bridge convert",
            "[OPTIONS]",
            "Convert compose files to Kubernetes manifests, Helm charts, or another model",
            (
                string("output", "The output directory for the Kubernetes resources", "o", default="out"),
                string("templates", "Directory containing transformation templates"),
                listing(
                    "transformation",
                    f"Transformation to apply to compose model (default: {_KUBERNETES})",
                    "t",
                    "stringArray",
                ),
                switch("yes", 'Assume "yes" to the output directory overwrite prompt', "y"),
                DRY_RUN,
            ),
        ),
        convert,
    ),
    "compose bridge transformations list": (
        Command(
            "compose bridge transformations list",
            "[OPTIONS]",
            "List available transformations",
            (
                string("format", "Format the output. Values: [table | json]", default="table"),
                switch("quiet", "Only display transformer names", "q"),
                DRY_RUN,
            ),
        ),
        transformations,
    ),
    "compose bridge transformations create": (
        Command(
            "compose bridge transformations create",
            "[OPTION] PATH",
            "Create a new transformation",
            (string("from", f"Existing transformation to copy (default: {_KUBERNETES})", "f"), DRY_RUN),
            1,
            1,
        ),
        create,
    ),
}
