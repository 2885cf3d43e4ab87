"""Registries, by the names that references have: what opens sessions to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from darse.distribution.auth import Credentials
from darse.distribution.errors import (
    AuthenticationRequired,
    InvalidContent,
    NotInRegistry,
    RegistryError,
    RequestRefused,
    Unreachable,
)
from darse.distribution.hosts import HUB, HUB_INDEX, Hosts, RegistryEndpoint, RegistrySettings
from darse.distribution.repository import Repository, paged
from darse.distribution.session import RegistrySession
from darse.distribution.timeouts import Cancellation, Limits
from darse.distribution.transport import RegistryResponse, Transport, split_url
from darse.image_spec.references import DEFAULT_DOMAIN, Reference

T = TypeVar("T")

_SEARCH_LIMIT = 4 * 1024 * 1024
_HUB_SEARCH = "https://index.docker.io"
# Stands where a description would: its absence, and that of stars, says nothing of the repository.
_OF_CATALOG = "(the catalog tells names only)"


class SearchResult(msgspec.Struct, omit_defaults=False):
    """A repository that a search found."""

    name: str
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class RegistryClient:
    """What a user can reach. `mirror_credentials` are by `HOST[:PORT]`: a mirror is not shown what is Hub's."""

    def __init__(
        self,
        hosts: Hosts | RegistrySettings,
        credentials: Credentials | None = None,
        *,
        mirror_credentials: dict[str, Credentials] | None = None,
        limits: Limits | None = None,
        cancellation: Cancellation | None = None,
    ) -> None:
        self.hosts = Hosts(hosts) if isinstance(hosts, RegistrySettings) else hosts
        self.cancellation = cancellation or Cancellation()
        self.limits = limits or Limits()
        self._credentials = credentials or Credentials()
        self._mirror_credentials = mirror_credentials or {}

    def session(self, endpoint: RegistryEndpoint) -> RegistrySession:
        """A session with one endpoint. Looks up the host's addresses, so it may block."""
        transport = Transport(self.hosts, self.limits, self.cancellation)
        shown = self._credentials
        if endpoint.is_mirror:
            shown = self._mirror_credentials.get(endpoint.authority, Credentials())
        return RegistrySession(endpoint, transport, shown, lenient=self.hosts.is_insecure(endpoint.authority))

    def repositories(self, reference: Reference, *, writing: bool = False) -> list[Repository]:
        """The places where a repository may be, to be tried in this order. May block, as `session` does."""
        return [
            Repository(self.session(endpoint), reference.path)
            for endpoint in self.hosts.endpoints(reference.domain, mirrors=not writing)
        ]

    def fetch(
        self, url: str, headers: Mapping[str, str] | None = None, *, accepted: tuple[int, ...] = (200,)
    ) -> RegistryResponse:
        """Begin to fetch a URL that is no registry's; no credentials go there but those in `headers`.

        Raises RegistryError.
        """
        split_url(url)
        return (
            RegistryClient(self.hosts, limits=self.limits, cancellation=self.cancellation)
            .session(RegistryEndpoint(url))
            .request("GET", url, headers=headers, accepted=accepted)
        )

    def login(self, server: str) -> str:
        """Try the credentials on a registry; return the identity token that it gives instead, or "".

        `server` is a URL or `HOST[:PORT]`; empty is Docker Hub. Raises RegistryError.
        """
        return self._first(self.hosts.endpoints(domain_of(server)), _login)

    def catalog(self, domain: str) -> list[str]:
        """The repositories of a registry that tells them. Raises RegistryError."""
        return self._first(
            self.hosts.endpoints(domain),
            lambda session: paged(session, "/v2/_catalog?n=1000", "repositories", ("registry:catalog:*",)),
        )

    def search(self, domain: str, term: str, limit: int) -> list[SearchResult]:
        """Repositories whose name has to do with `term`, `limit` of them at most.

        Docker Hub and registries with a search of version 1 are asked that; of others the catalog is looked through.
        Where Hub does not answer, its mirrors' catalogs are; when they have nothing, its failure is the answer.
        Raises RegistryError.
        """
        if domain != DEFAULT_DOMAIN:
            return self._first(self.hosts.endpoints(domain), lambda session: _search(session, term, limit))[:limit]
        try:
            return self._first([RegistryEndpoint(_HUB_SEARCH)], lambda session: _search(session, term, limit))[:limit]
        except RegistryError as error:
            # A mirror has only what was pulled through it: that it has nothing of the kind says nothing of Hub.
            mirrors = [place for place in self.hosts.endpoints(domain, mirrors=True) if place.is_mirror]
            try:
                found = self._first(mirrors, lambda session: _search(session, term, limit)) if mirrors else []
            except RegistryError:
                found = []
            if not found:
                raise error from None
            return found[:limit]

    def _first(self, endpoints: list[RegistryEndpoint], ask: Callable[[RegistrySession], T]) -> T:
        """What the first endpoint that answers says. Raises the last answer, or else why nobody answered."""
        failures: list[RegistryError] = []
        for endpoint in endpoints:
            session = self.session(endpoint)
            try:
                return ask(session)
            except RegistryError as error:
                failures.append(error)
            finally:
                session.close()
        answers = [failure for failure in failures if not isinstance(failure, Unreachable)]
        raise (answers or failures)[-1]


def _login(session: RegistrySession) -> str:
    """Show the credentials once it is known how. Raises RegistryError: the registry's, or its token server's."""
    session.ping()
    with session.request("GET", "/v2/", accepted=(200, 401)) as response:
        if response.status == 401:
            raise AuthenticationRequired(f"login attempt to {response.url} failed with status: 401 Unauthorized")
    return session.authenticator.refresh_token


def _search(session: RegistrySession, term: str, limit: int) -> list[SearchResult]:
    try:
        with session.request("GET", f"/v1/search?{urlencode({'q': term, 'n': limit})}") as response:
            content = response.read(_SEARCH_LIMIT)
    except (NotInRegistry, RequestRefused):
        names = paged(session, "/v2/_catalog?n=1000", "repositories", ("registry:catalog:*",))
        short = term.removeprefix("library/").lower()
        # Hub's official images are called without `library/`, which elsewhere is a part of the name like any other.
        hub = session.endpoint.is_mirror
        found = [
            SearchResult(
                name.removeprefix("library/") if hub else name,
                description=_OF_CATALOG,
                is_official=hub and name.startswith("library/"),
            )
            for name in names
            if short in name.lower()
        ]
        return sorted(found, key=lambda one: (one.name != short, not one.name.startswith(short), one.name))
    try:
        document = msgspec.json.decode(content)
        results = document["results"] or []
        return [msgspec.convert(_present(one), SearchResult) for one in results]
    except (msgspec.MsgspecError, RecursionError, ValueError, KeyError, TypeError) as error:
        raise InvalidContent(f"the registry's answer to the search is malformed: {error}") from None


def _present(result: Any) -> Any:
    return {key: value for key, value in result.items() if value is not None} if isinstance(result, dict) else result


def domain_of(server: str) -> str:
    """The registry that a login's server address means: a URL or `HOST[:PORT]`; empty is Docker Hub."""
    text = server.strip()
    if text in ("", HUB_INDEX, "index.docker.io", DEFAULT_DOMAIN, HUB):
        return DEFAULT_DOMAIN
    host = text.partition("://")[2] if "://" in text else text
    host = host.partition("/")[0]
    return DEFAULT_DOMAIN if host in ("index.docker.io", DEFAULT_DOMAIN, HUB) else quote(host, safe="[]:.")
