"""Which endpoint's answer counts, when a registry may be asked at several."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

from darse.distribution.errors import Cancelled, RegistryError, Unreachable
from darse.images.transfer.registries import in_thread
from darse.wire.images import Progress

if TYPE_CHECKING:
    from darse.distribution import Client, Reference, Repository

T = TypeVar("T")


def falls_back(repository: Repository, error: RegistryError) -> bool:
    """Whether another endpoint may do better: after a mirror any, after the registry one that does not answer."""
    if isinstance(error, Cancelled):
        return False
    return repository.session.endpoint.is_mirror or isinstance(error, Unreachable)


def most_informative(failures: list[RegistryError]) -> RegistryError:
    """The last failure; unless nobody answered there and somebody did before: then that, which names the last."""
    answers = [failure for failure in failures if not isinstance(failure, Unreachable)]
    if not answers:
        return failures[-1]
    if answers[-1] is not failures[-1]:
        answers[-1].unasked = str(failures[-1])
    return answers[-1]


def first_answer(client: Client, reference: Reference, ask: Callable[[Repository], T], *, writing: bool = False) -> T:
    """What the first endpoint that answers says. Blocks. Raises RegistryError."""
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
    client: Client,
    reference: Reference,
    transfer: Callable[[Repository], AsyncIterator[Progress]],
    *,
    writing: bool = False,
) -> AsyncIterator[Progress]:
    """Yield what a transfer tells, at the first endpoint where it succeeds. Raises RegistryError."""
    failures: list[RegistryError] = []
    for repository in await in_thread(client.cancellation, lambda: client.repositories(reference, writing=writing)):
        try:
            async for message in transfer(repository):
                yield message
        except RegistryError as error:
            failures.append(error)
            if not falls_back(repository, error):
                break
        else:
            return
        finally:
            repository.session.close()
    raise most_informative(failures)
