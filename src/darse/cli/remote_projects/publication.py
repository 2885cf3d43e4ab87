"""What of a project is published: its files as they are written, under names that say nothing of this machine.

A file that a service extends another from, and a file of variables, is named after the digest of its path here; what
refers to it is changed in the text, and nothing else is.
"""

from __future__ import annotations

import hashlib
import os

from darse.cli.remote_projects.artifacts import ENV_FILE, PublishedFile
from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.yaml import reader
from darse.compose.yaml.reader import MAPPING, SCALAR, SEQUENCE, YamlNode

_ADVICE = (
    "To avoid leaking sensitive data, you must either explicitly allow the sending of environment variables by using "
    "the --with-env flag,\nor remove sensitive data from your Compose configuration"
)


def files_of(paths: list[str], directory: str, *, with_env: bool) -> list[PublishedFile]:
    """The files of a project: those that it is made of, then those that they extend, then those of variables.

    Raises ComposeError for what cannot be read, and for local files that are included.
    """
    collection = _Collection(with_env=with_env)
    own = [PublishedFile(os.path.basename(path), collection.text_of(path, directory)) for path in paths]
    return [*own, *collection.bases.values(), *collection.variables.values()]


class _Collection:
    """The files that others refer to, by their paths here."""

    def __init__(self, *, with_env: bool) -> None:
        self._with_env = with_env
        self.bases: dict[str, PublishedFile] = {}
        self.variables: dict[str, PublishedFile] = {}

    def text_of(self, path: str, directory: str) -> bytes:
        """A file's text with the new names of those that it refers to; relative ones begin at `directory`."""
        content = _content(path)
        changes: list[tuple[YamlNode, str]] = []
        for root in reader.compose(content, path):
            if reader.child(root, "include"):
                raise ComposeError("cannot publish compose file with local includes")
            services = reader.child(root, "services")
            for _, service in services[1].value if services and services[1].kind == MAPPING else ():
                extends = reader.child(service, "extends")
                base = reader.child(extends[1], "file") if extends and extends[1].kind == MAPPING else None
                if base:
                    changes.append((base[1], self._base(os.path.join(directory, base[1].value))))
                for node in _env_files(service) if self._with_env else ():
                    changes.append((node, self._variables(os.path.join(directory, node.value))))
        return _changed(content, changes)

    def _base(self, path: str) -> str:
        name = f"{hashlib.sha256(path.encode()).hexdigest()}.yaml"
        if path not in self.bases:
            self.bases[path] = PublishedFile(name, b"", is_base=True)
            self.bases[path] = PublishedFile(name, self.text_of(path, os.path.dirname(path)), is_base=True)
        return name

    def _variables(self, path: str) -> str:
        name = f"{hashlib.sha256(path.encode()).hexdigest()}.env"
        if path not in self.variables:
            self.variables[path] = PublishedFile(name, _content(path), ENV_FILE)
        return name


def _env_files(service: YamlNode) -> list[YamlNode]:
    found = reader.child(service, "env_file") if service.kind == MAPPING else None
    if found is None:
        return []
    entries = found[1].value if found[1].kind == SEQUENCE else [found[1]]
    paths = [path[1] if (path := reader.child(one, "path")) else one for one in entries]
    return [one for one in paths if one.kind == SCALAR]


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ComposeError(f"open {path}: {(error.strerror or str(error)).lower()}") from error


def _changed(content: bytes, changes: list[tuple[YamlNode, str]]) -> bytes:
    """A text with other scalars at some places, the last first so that the others stay where they are."""
    lines = content.decode().split("\n")
    for node, new in sorted(changes, key=lambda one: (one[0].line, one[0].column), reverse=True):
        line, start = lines[node.line - 1], node.column - 1
        quote = line[start] if line[start] in "'\"" else ""
        end = line.index(quote, start + 1) + 1 if quote else start + len(str(node.value))
        lines[node.line - 1] = f"{line[:start]}{new}{line[end:]}"
    return "\n".join(lines).encode()


def refuse_without_images(project: Project) -> None:
    """Raise ComposeError for services that nobody else could have: those of which only the build is said."""
    names = [name for name, one in project.services.items() if one.build is not None and not one.image]
    if names:
        shown = "\n".join(f'- "{name}"' for name in names)
        raise ComposeError(
            f"your Compose stack cannot be published as it only contains a build section for service(s):\n{shown}\n"
        )


def refuse_variables(project: Project) -> None:
    """Raise ComposeError for services with variables; `project` has its files of variables unread."""
    found = []
    for name, service in project.services.items():
        if service.env_file:
            found.append(f'service "{name}" has env_file declared.')
        if service.env_file or service.environment:
            found.append(f'service "{name}" has environment variable(s) declared.')
    if found:
        raise ComposeError("\n".join([*found, _ADVICE]))


def questions(project: Project, *, with_env: bool) -> list[str]:
    """What is to be asked before: bind mounts, and variables that are sent along; `project` has its variables."""
    found = []
    mounts = [
        f"{name}{one.source}:{one.target}:{'ro' if one.read_only else 'rw'}"
        for name, service in project.services.items()
        for one in service.volumes
        if one.type == "bind"
    ]
    if mounts:
        found.append(
            "you are about to publish bind mounts declaration within your OCI artifact.\n"
            "only the bind mount declarations will be added to the OCI artifact (not content)\n"
            "please double check that you are not mounting potential user's sensitive directories or data\n"
            + "\n".join(mounts)
            + "\nAre you ok to publish these bind mount declarations?"
        )
    variables = {name: one.environment for name, one in project.services.items() if one.environment}
    if with_env and variables:
        lines = [
            "\n".join([f"Service/Config  {name}", *(f"{key}={value}" for key, value in sorted(own.items()))])
            for name, own in variables.items()
        ]
        found.append(
            "you are about to publish environment variables within your OCI artifact.\n"
            "please double check that you are not leaking sensitive data\n"
            + "\n".join(lines)
            + "\nAre you ok to publish these environment variables?"
        )
    return found
