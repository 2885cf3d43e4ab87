"""The engine's client of registries: pull, push, log in, search, and inspect without a pull.

What each of them consists of is imported when it is asked for first: an engine at rest talks to no registry.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter, NotFound
from darse.core.events import EventLog
from darse.core.filters import Filters
from darse.distribution import errors
from darse.distribution.errors import RegistryError
from darse.images import references
from darse.images.references import Reference
from darse.images.service import ImageService
from darse.images.transfer.registries import Registries, in_thread

if TYPE_CHECKING:
    from darse.distribution import Credentials, Limits, SearchResult
    from darse.images.transfer.artifacts import ArtifactTransfers
    from darse.images.transfer.manager import TransferManager
    from darse.images.transfer.pull import Puller
    from darse.images.transfer.push import Pusher
    from darse.wire.registries import DistributionInspect

SEARCH_FILTERS = ("is-automated", "is-official", "stars")


class RegistryService:
    """The operations on registries; `puller` and `pusher` have those that transfer images."""

    def __init__(
        self, config: EngineConfig, images: ImageService, events: EventLog, limits: Limits | None = None
    ) -> None:
        """`limits` are the timeouts and retries; the number of attempts is the configuration's."""
        self._config = config
        self._images = images
        self._events = events
        self._registries = Registries(config, limits)
        self._transfers: TransferManager | None = None

    @cached_property
    def puller(self) -> Puller:
        """Pulls images."""
        from darse.images.transfer.manager import TransferManager  # noqa: PLC0415
        from darse.images.transfer.pull import Puller  # noqa: PLC0415

        stores, config = self._images.stores, self._config
        self._transfers = TransferManager(stores.content, stores.layers, lambda: config.max_concurrent_downloads)
        return Puller(self._images, self._registries, self._transfers, self._events)

    @cached_property
    def pusher(self) -> Pusher:
        """Pushes images."""
        from darse.images.transfer.push import Pusher  # noqa: PLC0415

        config = self._config
        return Pusher(self._images.stores, self._registries, self._events, lambda: config.max_concurrent_uploads)

    @cached_property
    def artifacts(self) -> ArtifactTransfers:
        """Reads and writes what is no image."""
        from darse.images.transfer.artifacts import ArtifactTransfers  # noqa: PLC0415

        return ArtifactTransfers(self._registries, self.puller.transfers, self.pusher)

    async def close(self) -> None:
        """End every transfer; what was fetched stays for the next pull."""
        if self._transfers is not None:
            await self._transfers.close()

    async def log_in(self, server: str, credentials: Credentials) -> str:
        """Try credentials on a registry; return its identity token, or "". Raises Unauthorized, and SystemFault."""
        from darse.images.transfer import registry_errors  # noqa: PLC0415

        client = self._registries.client(credentials)
        try:
            return await in_thread(client.cancellation, lambda: client.login(server))
        except RegistryError as error:
            raise registry_errors.of_login(error) from error

    async def search_repositories(
        self, term: str, limit: int, filters: Filters, credentials: Credentials | None
    ) -> list[SearchResult]:
        """Find repositories by a term, which may begin with a registry. Raises EngineError."""
        if not term:
            raise InvalidParameter("a term to search for is required")
        if "://" in term:
            raise InvalidParameter(f'invalid repository name (ex: "registry.domain.tld/myrepos"): {term}')
        first, slash, rest = term.partition("/")
        named = bool(slash) and (any(sign in first for sign in ".:") or first == "localhost")
        domain, sought = (first, rest) if named else (references.DEFAULT_DOMAIN, term)
        official, automated = filters.flag("is-official"), filters.flag("is-automated")
        stars = max((_number(text) for text in filters.values("stars")), default=0)
        from darse.images.transfer import registry_errors  # noqa: PLC0415

        client = self._registries.client(credentials)
        try:
            found = await in_thread(client.cancellation, lambda: client.search(domain, sought, limit))
        except RegistryError as error:
            raise registry_errors.of_any(error) from error
        results = [
            one
            for one in found
            if official in (None, one.is_official) and automated in (None, one.is_automated) and one.star_count >= stars
        ]
        for one in results:
            if named:
                one.name = f"{domain}/{one.name}"
        return results

    async def inspect_manifest(self, reference: Reference, credentials: Credentials | None) -> DistributionInspect:
        """Return what a registry has under a name, without a pull. Raises EngineError."""
        from darse.images.transfer import inspect, registry_errors  # noqa: PLC0415

        client = self._registries.client(credentials)
        try:
            return await in_thread(client.cancellation, lambda: inspect.inspect(client, reference))
        except RegistryError as error:
            raise registry_errors.of_pull(error, reference) from error

    async def download_url(self, url: str) -> AsyncIterator[bytes]:
        """Yield the content of a URL, for an import; without a scheme it is http. Raises NotFound, InvalidParameter."""
        url = url if "://" in url else f"http://{url}"
        client = self._registries.client()
        try:
            response = await in_thread(client.cancellation, lambda: client.fetch(url))
            with response:
                while piece := await in_thread(client.cancellation, response.read_some):
                    yield piece
        except errors.NotInRegistry as error:
            raise NotFound(f"cannot import from {url}: {error}") from error
        except RegistryError as error:
            raise InvalidParameter(f"cannot import from {url}: {error}") from error

    async def fetch_url(
        self, url: str, headers: Mapping[str, str], take: Callable[[bytes], object]
    ) -> dict[str, str] | None:
        """Give the content of a URL to `take`, in a thread; return the answer's headers, with names in small letters.

        None where the server says that it is what conditions in `headers` describe. Raises NotFound, InvalidParameter.
        """
        client = self._registries.client()

        def fetch() -> dict[str, str] | None:
            with client.fetch(url, headers, accepted=(200, 304)) as answer:
                if answer.status == 304:
                    return None
                while piece := answer.read_some():
                    take(piece)
                return {name.lower(): value for name, value in answer.headers.items()}

        try:
            return await in_thread(client.cancellation, fetch, to_the_end=True)
        except errors.NotInRegistry as error:
            raise NotFound(f"cannot download {url}: {error}") from error
        except RegistryError as error:
            raise InvalidParameter(f"cannot download {url}: {error}") from error


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InvalidParameter(f"invalid filter 'stars={text}'")
    return int(text)
