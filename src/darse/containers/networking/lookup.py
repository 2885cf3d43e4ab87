"""`darse explain dns`: how a name is looked up from a container, step by step.

As the container's C library would: /etc/hosts first, then the name server of its resolv.conf with the search domains
that `ndots` asks for. What the name server does with each is asked of itself; nothing is looked up twice.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container
from darse.containers.networking.etc_files import network_owner
from darse.core.errors import Conflict
from darse.linux.fs.files import NotRegular, read_regular
from darse.networks.names import LookupSettings, addresses_in_hosts, lookup_settings
from darse.resolver.message import NOERROR, TYPE_A, TYPE_AAAA

_TYPES = {"A": TYPE_A, "AAAA": TYPE_AAAA}


class QueryExplanation(msgspec.Struct):
    """One query: by which rule the name server answers, and what.

    `rule`: `name` and `link` (then `network` and `target`), `forwarded` (then `servers`, asked from `origin`),
    `internal`, `no servers` and `ndots` (not forwarded, and why).
    """

    name: str
    type: str
    rule: str
    code: int
    answers: list[str]
    network: str = ""
    target: str = ""
    servers: list[str] = []
    origin: str = ""


class LookupExplanation(msgspec.Struct):
    """How a name is looked up; `hosts` are its addresses in /etc/hosts, with which it ends."""

    container: str
    name: str
    servers: list[str]
    search: list[str]
    ndots: int
    hosts: list[str]
    queries: list[QueryExplanation] = []
    #: Why nothing was asked.
    note: str = ""


async def explain_lookup(dependencies: Dependencies, container: Container, name: str) -> LookupExplanation:
    """Look a name up as a running container would. Raises Conflict when it does not run, and SystemFault."""
    if not container.state.alive:
        raise Conflict(f"container {container.name} is not running")
    files = dependencies.files.of(network_owner(dependencies, container).id)
    settings = lookup_settings(_read(files.resolv_conf))
    found = addresses_in_hosts(_read(files.hosts), name)
    story = LookupExplanation(container.name, name, settings.servers, settings.search, settings.ndots, found)
    if found:
        return story
    if not dependencies.networks.has_name_server(container.id):
        story.note = (
            "this container is on no user-defined network: it asks the servers of its resolv.conf itself, and names of "
            "containers are not known there"
        )
        return story
    for candidate in candidates(name, settings):
        queries = [await _explain_query(dependencies, container, candidate, type_) for type_ in _TYPES]
        story.queries += queries
        if any(query.code == NOERROR and query.answers for query in queries):
            break
    return story


async def _explain_query(dependencies: Dependencies, container: Container, name: str, type_: str) -> QueryExplanation:
    reported = await dependencies.networks.explain_name(container.id, name, _TYPES[type_])
    return QueryExplanation(
        name,
        type_,
        rule=reported["rule"],
        code=reported.get("code", NOERROR),
        answers=reported.get("answers", []),
        network=reported.get("network", ""),
        target=reported.get("name", ""),
        servers=reported["servers"],
        origin=reported.get("from", ""),
    )


def candidates(name: str, settings: LookupSettings) -> list[str]:
    """The whole names that a resolver tries, in order: resolv.conf(5), `ndots` and `search`."""
    if name.endswith("."):
        return [name]
    completed = [f"{name}.{domain}" for domain in settings.search]
    return [name, *completed] if name.count(".") >= settings.ndots else [*completed, name]


def _read(path: Path) -> str:
    try:
        return read_regular(path).decode(errors="replace")
    except (FileNotFoundError, NotRegular):
        return ""
