"""The registry's side of `manifest`: straight to the registry, with the user's credentials, without an engine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from darse.cli.errors import CliError
from darse.cli.images import manifest_lists
from darse.cli.images.manifest_lists import Entry
from darse.cli.settings import credentials
from darse.cli.settings.config import Settings
from darse.distribution import Credentials, Limits, RegistryClient, RegistryError, Repository, Uploads
from darse.distribution.errors import NotInRegistry, Unreachable
from darse.distribution.hosts import proxies_of
from darse.distribution.manifests import CONFIG_LIMIT, Document, parse
from darse.image_spec.manifests import Index, Manifest
from darse.image_spec.references import Reference

T = TypeVar("T")


class Registry:
    """The registry of a reference. `insecure` allows it a certificate that nobody knows, or none and plain HTTP."""

    def __init__(self, settings: Settings, reference: Reference, *, insecure: bool) -> None:
        """Asks with the user's credentials where there are any."""
        known = credentials.usable(settings, credentials.key_of(reference.domain))
        shown = Credentials(
            known.get("username", ""),
            known.get("password", ""),
            known.get("identitytoken", ""),
            known.get("registrytoken", ""),
        )
        hosts = proxies_of(os.environ)
        if insecure:
            hosts = msgspec.structs.replace(hosts, insecure=(reference.domain,))
        # Somebody waits at a terminal: what fails is said, and can be tried again.
        self._client = RegistryClient(hosts, shown, limits=Limits(attempts=1))
        self._reference = reference

    def image(self) -> Entry | None:
        """The image of the reference; None when it names a list. Raises CliError."""
        return self.ask(lambda repository: _image(repository, self._reference, self._document(repository)))

    def index(self) -> list[dict[str, Any]]:
        """The descriptors of a list. Raises CliError."""
        return self.ask(lambda repository: _descriptors(self._document(repository)))

    def images(self) -> list[Entry]:
        """The images of a list. Raises CliError."""
        return self.ask(self._images)

    def put(
        self, manifests: list[Entry], mounts: list[tuple[str, str]], index: bytes, report: Callable[[str], None]
    ) -> str:
        """Take over blobs (repository, digest), put manifests and then the list; return its digest.

        `report` gets a line per manifest. Raises CliError.
        """

        def write(repository: Repository) -> str:
            uploads = Uploads(repository)
            for source, digest in mounts:
                if not uploads.mount(digest, source):
                    raise CliError(f"error mounting {self._reference.domain}/{source}@{digest} to {self._reference}")
            for one in manifests:
                descriptor = one["Descriptor"]
                raw = manifest_lists.raw_manifest(one)
                uploads.put_manifest(descriptor["digest"], Document.of(raw, descriptor["mediaType"]))
                name = f"{self._reference.name}@{descriptor['digest']}"
                report(f"Pushed ref {name} with digest: {descriptor['digest']}")
            document = Document.of(index, json.loads(index)["mediaType"])
            uploads.put_manifest(self._tag_or_digest(), document)
            return document.digest

        return self.ask(write, writing=True)

    def _tag_or_digest(self) -> str:
        return self._reference.digest or self._reference.tag

    def _document(self, repository: Repository) -> Document:
        return repository.manifest(self._tag_or_digest())

    def _images(self, repository: Repository) -> list[Entry]:
        entries = []
        for descriptor in _descriptors(self._document(repository)):
            digest = descriptor["digest"]
            reference = self._reference._replace(digest=digest)
            found = _image(repository, reference, repository.manifest(digest))
            if found is None:
                raise CliError(f"{reference} is a list in a list, which is not supported")
            found["Descriptor"]["platform"] = manifest_lists.platform_of(descriptor["platform"])
            entries.append(found)
        return entries

    def ask(self, question: Callable[[Repository], T], *, writing: bool = False) -> T:
        """Ask the places where the repository may be, one after the other. Raises CliError."""
        failure: RegistryError | None = None
        for repository in self._client.repositories(self._reference, writing=writing):
            try:
                return question(repository)
            except NotInRegistry as error:
                raise CliError(f"no such manifest: {self._reference}") from error
            except Unreachable as error:
                failure = failure or error
            except RegistryError as error:
                raise CliError(str(error)) from error
            finally:
                repository.session.close()
        raise CliError(str(failure)) from failure


def _image(repository: Repository, reference: Reference, document: Document) -> Entry | None:
    found = parse(document)
    if not isinstance(found, Manifest):
        return None
    config = json.loads(repository.small_blob(found.config, CONFIG_LIMIT))
    platform = manifest_lists.platform_of(config if isinstance(config, dict) else {})
    return manifest_lists.entry(str(reference), document.media_type, document.digest, document.content, platform)


def _descriptors(document: Document) -> list[dict[str, Any]]:
    found = parse(document)
    if not isinstance(found, Index):
        raise CliError(f"unsupported manifest format: {document.media_type}")
    return [
        {
            "mediaType": one.media_type,
            "size": one.size,
            "digest": one.digest,
            "platform": msgspec.to_builtins(one.platform) if one.platform else {},
        }
        for one in found.manifests
    ]
