"""Find a project's files, its name and its variables, and load it: what the global flags of `darse compose` say."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from darse.compose import dotenv
from darse.compose.errors import ComposeError
from darse.compose.interpolation.document import Interpolation
from darse.compose.loading import names
from darse.compose.loading.consistency import check_consistency
from darse.compose.loading.environment import resolve_environment, resolve_labels
from darse.compose.loading.loader import Loader, LoadSettings
from darse.compose.loading.selection import with_named_enabled, with_profiles, with_selected, without_unused
from darse.compose.loading.sources import STANDARD_INPUT, Fetch, Sources, refuse_remote
from darse.compose.model.forms import to_project
from darse.compose.model.project import Project

FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


class ProjectOptions:
    """The global flags; what is not given comes from the environment, then from the working directory."""

    def __init__(
        self,
        *,
        files: list[str] | None = None,
        name: str = "",
        profiles: list[str] | None = None,
        env_files: list[str] | None = None,
        directory: str = "",
        all_resources: bool = False,
        compatibility: bool = False,
    ) -> None:
        self.files = files or []
        self.name = name
        self.profiles = profiles or []
        self.env_files = env_files or []
        self.directory = directory
        self.all_resources = all_resources
        self.compatibility = compatibility


class ProjectFiles:
    """A project before it is loaded: its files, directory, name and variables."""

    def __init__(
        self,
        options: ProjectOptions,
        environment: Mapping[str, str],
        warn: Callable[[str], None],
        fetch: Fetch = refuse_remote,
    ) -> None:
        """`fetch` brings a file of a repository or a registry here. Raises ComposeError."""
        warned: set[str] = set()

        def warn_once(text: str) -> None:
            if text not in warned:
                warned.add(text)
                self.sources.inputs.has_more = True
                warn(text)

        self.sources = Sources(fetch)
        self._options = options
        self._warn = warn_once
        self.environment = dict(environment) | {"PWD": os.getcwd()}
        self._env_files = options.env_files or [
            one for one in self.environment.get("COMPOSE_ENV_FILES", "").split(",") if one
        ]
        self._given = options.files
        self.files = [self._absolute(one) for one in options.files]
        self._add_env_files()
        self._find_files()
        self._add_env_files()
        profiles = options.profiles or self.environment.get("COMPOSE_PROFILES", "").split(",")
        self.profiles = [one.strip() for one in profiles]
        self.directory = self._directory()
        if self._is_remote and not options.directory:
            # Its files are relative to it; its name and variables are those of the directory that it is used in.
            self.directory = os.path.dirname(self.files[0])

    @property
    def _is_remote(self) -> bool:
        return bool(self._given) and self.sources.remote(self._given[0]) is not None

    def _absolute(self, path: str) -> str:
        if path == STANDARD_INPUT:
            return path
        remote = self.sources.remote(path)
        return remote.path if remote else os.path.abspath(path)

    def _directory(self) -> str:
        if self._options.directory:
            return os.path.abspath(self._options.directory)
        if self._is_remote:
            return os.getcwd()
        first = next((one for one in self.files if one != STANDARD_INPUT), None)
        return os.path.dirname(first) if first else os.getcwd()

    def _add_env_files(self) -> None:
        """Add `.env` of the directory, or the files that are given; what is set already stays."""
        files = [os.path.abspath(one) for one in self._env_files]
        if not files and self.environment.get("COMPOSE_DISABLE_ENV_FILE", "") not in _TRUE:
            default = os.path.join(self._directory(), ".env")
            self.sources.inputs.note(default)
            files = [default] if os.path.isfile(default) else []
        for file in files:
            self.sources.inputs.note(file)
        self.environment = dotenv.read_files(files, self.environment, self._unset) | self.environment

    def _find_files(self) -> None:
        if not self.files and (listed := self.environment.get("COMPOSE_FILE")):
            separator = self.environment.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
            self.files = [self._absolute(one) for one in listed.split(separator)]
        directory = self._directory()
        while not self.files:
            if found := self._chosen(FILES, directory, ""):
                self.files = [*found, *self._chosen(OVERRIDES, directory, "override ")]
            elif directory == os.path.dirname(directory):
                raise ComposeError("no configuration file provided: not found")
            directory = os.path.dirname(directory)

    def _chosen(self, candidates: tuple[str, ...], directory: str, kind: str) -> list[str]:
        paths = [os.path.join(directory, name) for name in candidates]
        for path in paths:
            self.sources.inputs.note(path)
        found = [path for path in paths if os.path.exists(path)]
        if len(found) > 1:
            self._warn(f"Found multiple {kind or 'config '}files with supported names: {', '.join(found)}")
            self._warn(f"Using {found[0]}")
        return found[:1]

    def _unset(self, name: str) -> None:
        self._warn(f'The "{name}" variable is not set. Defaulting to a blank string.')

    def name(self, *, interpolate: bool = True, normalize: bool = True) -> str:
        """The project's name; one of a file is taken as it is unless it is normalised. Raises ComposeError."""
        given = self._options.name or self.environment.get("COMPOSE_PROJECT_NAME", "")
        if given:
            return names.checked(given)
        found = ""
        for file in self.files:
            found = self.sources.name_in(file) or found
        if found and interpolate:
            found = str(Interpolation(self.environment.get, self._warn).apply({"name": found})["name"])
        name = found if found and not normalize else names.normalized(found or os.path.basename(self._directory()))
        if not name:
            raise ComposeError("project name must not be empty")
        return name

    def document(self, settings: LoadSettings) -> tuple[str, dict[str, Any]]:
        """The project's name, and all its files as one document. Raises ComposeError with the place."""
        try:
            name = self.name(interpolate=settings.interpolate, normalize=settings.normalize)
            self.environment["COMPOSE_PROJECT_NAME"] = name
            loader = Loader(self.sources, settings, self._warn)
            return name, loader.load(self.files, self.directory, name, self.environment)
        except ComposeError as error:
            raise self.sources.located(error) from error.__cause__

    def project(
        self,
        services: list[str],
        settings: LoadSettings,
        *,
        check: bool = True,
        resolve: bool = True,
    ) -> Project:
        """The typed model of the services that are meant. Raises ComposeError with the place.

        `check` looks whether the parts of the model fit together; `resolve` reads `env_file`.
        """
        name, document = self.document(settings)
        try:
            project = to_project(document, name)
            project.directory, project.files, project.environment = self.directory, self.files, self.environment
            project.inputs = self.sources.inputs
            if self._options.compatibility or self.environment.get("COMPOSE_COMPATIBILITY", "") in _TRUE:
                project.separator = "_"
            project.env_files = [os.path.abspath(one) for one in self._env_files]
            project = with_profiles(project, self.profiles)
            if check:
                check_consistency(project)
            if resolve:
                resolve_environment(project, self._unset, self.sources.inputs)
            resolve_labels(project, self._unset, self.sources.inputs)
            project = with_selected(with_named_enabled(project, services), services)
            return project if self._options.all_resources else without_unused(project)
        except ComposeError as error:
            raise self.sources.located(error) from error.__cause__
