"""The variables and labels that services get from files and from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable

from darse.compose import dotenv
from darse.compose.errors import ComposeError
from darse.compose.inputs import Inputs, in_words, read_bounded
from darse.compose.model.project import Project
from darse.compose.model.service import EnvFile


def resolve_environment(project: Project, unset: Callable[[str], None], inputs: Inputs) -> None:
    """Read `env_file`; what `environment` says is before it. Raises ComposeError."""
    for name, service in project.services.items():
        own = {
            key: project.environment.get(key) if value is None else value for key, value in service.environment.items()
        }

        def lookup(key: str, own: dict[str, str | None] = own) -> str | None:
            found = project.environment.get(key)
            return own.get(key) if found is None else found

        variables = {key: value for key, value in own.items() if value is not None}
        for number, file in enumerate(service.env_file):
            inputs.note(file.path)
            try:
                _read(file, variables, lookup, unset)
            except ComposeError as error:
                error.path = ("services", name, "env_file", number)
                raise
        service.environment = {**variables, **own}
        service.env_file = []


def _read(
    file: EnvFile, variables: dict[str, str], lookup: Callable[[str], str | None], unset: Callable[[str], None]
) -> None:
    if not os.path.exists(file.path):
        if file.required:
            raise ComposeError(f"env file {file.path} not found: stat {file.path}: no such file or directory")
        return
    if file.format not in ("", "raw"):
        raise ComposeError(f'unsupported env_file format "{file.format}"')
    text = _text(file.path)
    try:
        if file.format == "raw":
            dotenv.parse_raw(text, variables, lookup)
        else:
            dotenv.parse(text, variables, lookup, unset)
    except ComposeError as error:
        raise ComposeError(f"failed to read {file.path}: {error}") from error


def resolve_labels(project: Project, unset: Callable[[str], None], inputs: Inputs) -> None:
    """Read `label_file`; what `labels` says is before it. Raises ComposeError."""
    for name, service in project.services.items():
        labels: dict[str, str] = {}
        for number, path in enumerate(service.label_file):
            here = ("services", name, "label_file", number)
            inputs.note(path)
            if not os.path.exists(path):
                raise ComposeError(f"label file {path} not found: stat {path}: no such file or directory", here)
            try:
                dotenv.parse(_text(path), labels, labels.get, unset)
            except ComposeError as error:
                raise ComposeError(f"failed to read {path}: {error}", here) from error
        service.labels = labels | service.labels
        service.label_file = []


def _text(path: str) -> str:
    try:
        return read_bounded(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ComposeError(f"couldn't read env file: {path}: {in_words(error)}") from error
