"""Requests to one endpoint for one user: authentication, redirects, and answers that are refusals.

A redirect may lead anywhere, and storage services are where layers lie; but what the user showed to the registry is
shown to no other host, and from TLS nothing leads to plain HTTP unless the registry is configured as insecure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

from darse.distribution.auth import Authenticator, Credentials
from darse.distribution.error_response import error_of
from darse.distribution.errors import AuthenticationRequired, InvalidContent, RegistryError, Unreachable
from darse.distribution.hosts import RegistryEndpoint
from darse.distribution.timeouts import Cancellation, pause_before
from darse.distribution.transport import Body, RegistryResponse, Transport

T = TypeVar("T")

_REDIRECTS = 10
_CHALLENGES = 3
_MOVED = frozenset({301, 302, 303, 307, 308})


class RegistrySession:
    """An endpoint and a user. Not for two threads at once: `apart` makes another."""

    def __init__(
        self, endpoint: RegistryEndpoint, transport: Transport, credentials: Credentials, *, lenient: bool
    ) -> None:
        """`lenient`: the registry may go without TLS; see `Hosts.is_insecure`, which may block."""
        self.endpoint = endpoint
        self.transport = transport
        self.lenient = lenient
        clear_text = lenient or endpoint.base.startswith("http://")
        self.authenticator = Authenticator(transport, credentials, clear_text=clear_text)

    def apart(self, cancellation: Cancellation) -> RegistrySession:
        """A session for another thread, with connections of its own, that is given up separately."""
        other = RegistrySession(self.endpoint, self.transport.apart(cancellation), Credentials(), lenient=self.lenient)
        other.authenticator = self.authenticator.apart(other.transport)
        return other

    def close(self) -> None:
        """Close the connections that are kept."""
        self.transport.close()

    def request(
        self,
        method: str,
        target: str,
        *,
        scopes: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        accepted: tuple[int, ...] = (200,),
    ) -> RegistryResponse:
        """Send a request to a path of the endpoint, or to a URL, and return its answer, which is to be closed.

        Raises RegistryError for every answer whose status is not `accepted`.
        """
        url = target if "://" in target else f"{self.endpoint.base}{target}"
        home = _origin(self.endpoint.base)
        redirects = 0
        challenged = 0
        while True:
            sent = dict(headers or {})
            if _origin(url) == home:
                sent |= self.authenticator.header(scopes)
            response = self.transport.send(method, url, sent, body)
            if response.status in accepted:
                return response
            doing = f'{method.capitalize()} "{url}"'
            if response.status == 401 and _origin(url) == home and challenged < _CHALLENGES:
                challenged += 1
                if self._can_answer(response, scopes, doing) and (body is None or isinstance(body, bytes)):
                    response.close()
                    continue
            if response.status in _MOVED and method in ("GET", "HEAD"):
                redirects += 1
                url = self._redirected(response, url, redirects)
                continue
            with response:
                raise error_of(response, doing)

    def ping(self) -> None:
        """Find out whether the endpoint answers, and what it wants to be shown. Raises RegistryError."""
        with self.request("GET", "/v2/", accepted=(200, 401)) as response:
            if response.status == 401:
                self._can_answer(response, (), f'Get "{response.url}"')

    def _can_answer(self, response: RegistryResponse, scopes: tuple[str, ...], doing: str) -> bool:
        try:
            return self.authenticator.answer(response, scopes)
        except AuthenticationRequired as error:
            response.close()
            raise AuthenticationRequired(f"{doing}: {error}") from None

    def _redirected(self, response: RegistryResponse, url: str, count: int) -> str:
        location = response.headers.get("Location", "")
        response.close()
        if count > _REDIRECTS:
            raise InvalidContent(f'Get "{url}": stopped after {_REDIRECTS} redirects')
        if not location:
            raise InvalidContent(f'Get "{url}": {response.status} response missing Location header')
        return self.follow(url, location)

    def follow(self, url: str, location: str) -> str:
        """The URL that a Location header means. Raises InvalidContent when it leaves TLS."""
        try:
            there = urljoin(url, location)
        except ValueError:
            raise InvalidContent(f"the registry refers to {location!r:.200}, which is no URL") from None
        if url.startswith("https://") and not there.startswith("https://") and not self.lenient:
            raise InvalidContent(f'Get "{url}": the registry leads from TLS to {there!r:.200}: refused')
        return there

    def again(self, action: Callable[[], T]) -> T:
        """Call `action`, and call it again after a pause when the registry failed or wants to be left alone.

        Who does not answer at all is not asked again here: there may be another endpoint.
        """
        attempt = 1
        while True:
            try:
                return action()
            except Unreachable:
                raise
            except RegistryError as error:
                attempt += 1
                self.transport.cancellation.wait(pause_before(attempt, error, self.transport.limits))


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
