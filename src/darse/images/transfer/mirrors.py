"""Mirror fallback: which endpoint's answer counts when a registry can be asked at several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from darse.distribution.errors import Cancelled, RegistryError, Unreachable
from darse.images.transfer.registries import in_thread

if TYPE_CHECKING:
    from darse.distribution import RegistryClient, Repository
    from darse.image_spec.references import Reference

T = TypeVar("T")


def falls_back(repository: Repository, error: RegistryError) -> bool:
    """Whether the next endpoint is tried: always after a mirror; after the registry, only when it does not answer."""
    if isinstance(error, Cancelled):
        return False
    return repository.session.endpoint.is_mirror or isinstance(error, Unreachable)


def most_informative(failures: list[RegistryError]) -> RegistryError:
    """The last failure that was an answer, with the endpoint after it that did not answer; else the last failure."""
    answers = [failure for failure in failures if not isinstance(failure, Unreachable)]
    if not answers:
        return failures[-1]
    if answers[-1] is not failures[-1]:
        answers[-1].unasked = str(failures[-1])
    return answers[-1]


def first_answer(
    client: RegistryClient, reference: Reference, ask: Callable[[Repository], T], *, writing: bool = False
) -> T:
    """Return the answer of the first endpoint that gives one. Blocks. Raises RegistryError."""
    failures: list[RegistryError] = []
    for repository in client.repositories(reference, writing=writing):
        try:
            return ask(repository)
        except RegistryError as error:
            failures.append(error)
            if not falls_back(repository, error):
                break
        finally:
            repository.session.close()
    raise most_informative(failures)


async def try_endpoints(
    client: RegistryClient,
    reference: Reference,
    transfer: Callable[[Repository], Awaitable[T]],
    *,
    writing: bool = False,
) -> T:
    """Return the result of a transfer from the first endpoint at which it succeeds. Raises RegistryError."""
    failures: list[RegistryError] = []
    for repository in await in_thread(client.cancellation, lambda: client.repositories(reference, writing=writing)):
        try:
            return await transfer(repository)
        except RegistryError as error:
            failures.append(error)
            if not falls_back(repository, error):
                break
        finally:
            repository.session.close()
    raise most_informative(failures)
