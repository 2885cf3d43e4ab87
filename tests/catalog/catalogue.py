"""Which images there are, under which names; the cache that holds them, and the registry's storage filled from it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.catalog.build import ARCHITECTURE, HERE, Builder, State
from tests.catalog.layout import DOCKER_MANIFEST, INDEX, MANIFEST, Descriptor, Layout, write
from tests.catalog.publish import publish
from tests.support.registry import Registry


@dataclass(frozen=True)
class Image:
    """An image of the catalogue: the directory of its Dockerfile, and the tags that it gets on the Hub.

    kind: `index` is an OCI index as buildkit makes one; `docker` is a schema 2 manifest, as older images have.
    """

    name: str
    tags: tuple[str, ...]
    kind: str = "index"
    small: bool = False
    repository: str = ""

    @property
    def names(self) -> list[str]:
        """All its names, as docker's familiar form has them."""
        return [f"{self.repository or self.name}:{tag}" for tag in self.tags]


def _image(name: str, tags: str, **options: Any) -> Image:
    return Image(name, tuple(tags.split()), **options)


# What `make test` uses is small: all of it stands on one base.
IMAGES = (
    _image("debian", "latest bookworm bookworm-slim 12", small=True),
    _image("busybox", "latest 1.35", small=True),
    _image("hello-world", "latest linux", small=True),
    _image("alpine", "latest 3.18", small=True),
    _image("ubuntu", "latest 22.04", small=True),
    _image("nginx", "latest stable 1.22 1.23.4", small=True),
    _image("nginx-alpine", "alpine", repository="nginx", small=True),
    _image("python-slim", "slim 3.9-slim 3.11-slim", repository="python", kind="docker", small=True),
    _image("python", "latest 3 3.9 3.11"),
    _image("postgres", "latest 15"),
    _image("redis", "latest 7", kind="docker"),
    _image("mariadb", "latest 10 10.11"),
    _image("mysql", "latest 8 8.0 5.7"),
    _image("wordpress", "latest 6 6.1"),
    _image("node", "latest 20 20-alpine"),
    _image("registry", "latest 2"),
    _image("golang", "latest 1 1.19"),
    _image("eclipse-temurin", "17-jre"),
    _image("maven", "latest 3 3-eclipse-temurin-17"),
)
SMALL = tuple(image.name for image in IMAGES if image.small)
_PLATFORM = {"os": "linux", "architecture": ARCHITECTURE}


def cache_directory() -> Path:
    """Where the results are kept: DARSE_CATALOG_CACHE, or a directory in the user's cache."""
    told = os.environ.get("DARSE_CATALOG_CACHE")
    return Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "darse-catalog"


class Catalogue:
    """The images, in a cache; any number of processes may use the same one."""

    def __init__(self, cache: Path | None = None, tell: Callable[[str], None] = lambda line: None) -> None:
        """`tell` takes lines about what is being built."""
        self.cache = cache or cache_directory()
        self.cache.mkdir(parents=True, exist_ok=True)
        self.layout = Layout(self.cache / "layout")
        self._tell = tell

    @property
    def storage(self) -> Path:
        """The storage of a registry that has what was provided."""
        return self.cache / "registry"

    def provide(self, *names: str) -> None:
        """Have these images built and in the registry's storage; SMALL without names. Raises BuildError, KeyError."""
        by_name = {image.name: image for image in IMAGES}
        wanted = [by_name[name] for name in names or SMALL]
        with self._locked():
            builder = Builder(
                self.cache, self.layout, lambda parent: builder.build(HERE / "images" / parent), self._tell
            )
            with contextlib.closing(builder):
                for image in wanted:
                    self.layout.name(image.names, self._target(image, builder.build(HERE / "images" / image.name)))
            self._publish([name for image in wanted for name in image.names])

    def _publish(self, names: list[str]) -> None:
        """Bring the registry's storage up to date with the layout."""
        record = self.storage / "published.json"
        published = json.loads(record.read_bytes()) if record.exists() else {}
        digests = {name: target["digest"] for name, target in self.layout.names().items()}
        stale = [name for name in names if published.get(name) != digests[name]]
        if stale:
            with Registry(self.storage) as registry:
                publish(self.layout, stale, registry.address)
            write(record, json.dumps(published | {name: digests[name] for name in stale}).encode())

    def _target(self, image: Image, state: State) -> Descriptor:
        """Keep the documents of an image; the descriptor of what its names mean."""
        if image.kind == "docker":
            return self._manifest(state, ARCHITECTURE, "application/vnd.docker.", DOCKER_MANIFEST)
        # There are always other platforms that one must not take; their programs are not for them, though.
        other = {"amd64": "arm64", "arm64": "amd64"}[ARCHITECTURE]
        manifests = [
            {**self._manifest(state, architecture, "application/vnd.oci.image.", MANIFEST), "platform": platform}
            for architecture in (other, ARCHITECTURE)
            for platform in [{"os": "linux", "architecture": architecture}]
        ]
        return self.layout.put({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)

    def _manifest(self, state: State, architecture: str, prefix: str, media_type: str) -> Descriptor:
        docker = media_type == DOCKER_MANIFEST
        config_type = f"{prefix}container.image.v1+json" if docker else f"{prefix}config.v1+json"
        layer_type = f"{prefix}image.rootfs.diff.tar.gzip" if docker else f"{prefix}layer.v1.tar+gzip"
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.layout.put(state.document(architecture), config_type),
            "layers": [{"mediaType": layer_type, "digest": layer.digest, "size": layer.size} for layer in state.layers],
        }
        return self.layout.put(manifest, media_type)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One builder at a time; the others find its results."""
        with open(self.cache / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
