"""Links (`--link`): another container's address under a name of one's own, and on the default bridge its variables.

A link goes one way, from the container that was created with it. Its target must run when the container starts on the
default bridge; when the target starts again with another address, the files of those who link to it follow. On other
networks a link is a name only, and there as soon as the target runs.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container, ContainerLink
from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.core.ids import NAME_PATTERN, short_id

_WITHOUT_LATE_LINKS = ("bridge", "default", "host", "none")
# Made by image builds; they say nothing about the linked service.
_UNTOLD = frozenset({"HOME", "PATH"})


def parse_link(text: str) -> tuple[str, str]:
    """Return (target, alias) of `TARGET`, `TARGET:ALIAS` or an inspect's `/TARGET:/CONTAINER/ALIAS`.

    Raises InvalidParameter.
    """
    if not text:
        raise InvalidParameter("empty string specified for links")
    parts = text.split(":")
    if len(parts) > 2:
        raise InvalidParameter(f"bad format for links: {text}")
    target = parts[0].removeprefix("/")
    alias = parts[-1].rpartition("/")[2]
    if not target or NAME_PATTERN.fullmatch(alias) is None:
        raise InvalidParameter(f"bad format for links: {text}")
    return target, alias


class Links:
    """Who links to whom, and what follows from it."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    def resolve(self, requested: Iterable[str], mode: str) -> list[ContainerLink]:
        """Find the targets of a creation's links; `mode` is its network mode. Raises InvalidParameter.

        On the default bridge they must be there. On other networks a link is a name, which may come true later.
        """
        links: dict[ContainerLink, None] = {}
        for text in requested:
            target, alias = parse_link(text)
            try:
                found = self._dependencies.store.get(target)
            except NotFound:
                if mode not in _WITHOUT_LATE_LINKS:
                    links[ContainerLink(target, alias)] = None
                    continue
                raise InvalidParameter(f"could not get container for {target}: No such container: {target}") from None
            if found.record.host.NetworkMode == "host":
                raise InvalidParameter(
                    "conflicting options: host type networking can't be used with links. "
                    "This would result in undefined behavior"
                )
            links[ContainerLink(found.id, alias)] = None
        return list(links)

    def inspect_links(self, container: Container) -> list[str]:
        """The links of an inspect: `/target:/container/alias`."""
        return [
            f"/{target.name}:/{container.name}/{link.alias}"
            for link in container.record.links
            if (target := self._dependencies.store.find(link.target)) is not None
        ]

    def given_names(self, target: Container) -> list[str]:
        """The names that others have given to a container: `/container/alias`."""
        return [
            f"/{parent.name}/{link.alias}"
            for parent in self._parents(target)
            for link in parent.record.links
            if link.target in (target.id, target.name)
        ]

    def require_running(self, container: Container) -> None:
        """Raise Conflict when a target on the default bridge does not run, or is not on that network."""
        if container.record.host.NetworkMode != "bridge":
            return
        for link in container.record.links:
            target = self._dependencies.store.find(link.target)
            if target is not None and not target.state.alive:
                raise Conflict(
                    f"Cannot link to a non running container: /{target.name} AS /{container.name}/{link.alias}"
                )
            if target is not None and not self._address(container, target):
                raise Conflict(
                    f"Cannot link to /{target.name}, as it does not belong to the default network: connect it first "
                    f"(docker network connect bridge {target.name}), or put both on a network of their own"
                )

    def hosts(self, container: Container) -> list[str]:
        """Entries for /etc/hosts, as `--add-host` has them: names, a colon, an address.

        On the default bridge only: on other networks the name server knows the aliases.
        """
        entries: list[str] = []
        if container.record.host.NetworkMode != "bridge":
            return entries
        for link in container.record.links:
            target = self._dependencies.store.find(link.target)
            if target is not None and (address := self._address(container, target)):
                hostname = target.record.config.Hostname or short_id(target.id)
                names = dict.fromkeys((link.alias, hostname, target.name))
                entries.append(f"{' '.join(names)}:{address}")
        return entries

    def names(self, container: Container) -> dict[str, str]:
        """For the name server: each alias, and a name of its target that stays when that is renamed."""
        found = {}
        for link in container.record.links:
            target = self._dependencies.store.find(link.target)
            found[link.alias] = short_id(target.id) if target is not None else link.target
        return found

    def environment(self, container: Container) -> list[str]:
        """The variables that tell of the linked services; on the default bridge only, as docker has it."""
        if container.record.host.NetworkMode != "bridge":
            return []
        variables: list[str] = []
        for link in container.record.links:
            target = self._dependencies.store.find(link.target)
            if target is not None and (address := self._address(container, target)):
                variables += link_variables(f"/{container.name}/{link.alias}", address, target)
        return variables

    def remove_link(self, name: str) -> Container:
        """Take away the link called `container/alias` and return its container. Raises NotFound."""
        parent_name, _, alias = name.strip("/").partition("/")
        parent = self._dependencies.store.find(parent_name)
        left = [link for link in parent.record.links if link.alias != alias] if parent is not None else []
        if parent is None or len(left) == len(parent.record.links):
            raise NotFound(f"Could not get link name: no link {name!r}; links are named CONTAINER/ALIAS")
        self._dependencies.store.save_record(parent, msgspec.structs.replace(parent.record, links=left))
        return parent

    def parents(self, target: Container) -> list[Container]:
        """The running containers that link to `target`."""
        return [parent for parent in self._parents(target) if parent.state.alive]

    def _parents(self, target: Container) -> list[Container]:
        return [
            one
            for one in self._dependencies.store.with_links()
            if any(link.target in (target.id, target.name) for link in one.record.links)
        ]

    def _address(self, container: Container, target: Container) -> str:
        """The target's address on a network that both are on."""
        sandbox = self._dependencies.networks.sandbox(target.id)
        if sandbox is None or not target.state.alive:
            return ""
        for endpoint in sandbox.endpoints:
            if endpoint.network_name in container.record.endpoints:
                return endpoint.address
        return ""


def link_variables(name: str, address: str, target: Container) -> list[str]:
    """The variables of one link, `name` being `/container/alias`."""
    alias = name.rpartition("/")[2].upper().replace("-", "_")
    ports = sorted(
        (int(number), protocol != "tcp", protocol or "tcp")
        for number, _, protocol in (key.partition("/") for key in target.record.config.ExposedPorts or {})
        if number.isdecimal()
    )
    variables = []
    if ports:
        number, _, protocol = ports[0]
        variables.append(f"{alias}_PORT={protocol}://{address}:{number}")
    for number, _, protocol in ports:
        prefix = f"{alias}_PORT_{number}_{protocol.upper()}"
        variables += [
            f"{prefix}={protocol}://{address}:{number}",
            f"{prefix}_ADDR={address}",
            f"{prefix}_PORT={number}",
            f"{prefix}_PROTO={protocol}",
        ]
    variables.append(f"{alias}_NAME={name}")
    for entry in target.record.config.Env or ():
        variable, equals, value = entry.partition("=")
        if equals and variable not in _UNTOLD:
            variables.append(f"{alias}_ENV_{variable}={value}")
    return variables
