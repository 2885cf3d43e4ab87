"""Which containers a list shows: the filters of `ps` and `prune` (Docker Engine API, `filters` of `/containers/json`).

Values of one filter are alternatives, different filters must all match. A filter that is not known is an error:
a `prune` that ignored it would remove what nobody meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from darse.containers.model import Container, Status
from darse.core.errors import InvalidParameter
from darse.core.filters import Filters
from darse.wire.containers import NetworkSettings

LIST_FILTERS = (
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
)
PRUNE_FILTERS = ("label", "label!", "until")
_STATUSES = frozenset({"created", "restarting", "running", "removing", "paused", "exited", "dead"})
_HEALTH = frozenset({"none", "starting", "healthy", "unhealthy"})


class ContainerFilter:
    """The filters of a list, checked once, asked for each container."""

    def __init__(
        self,
        filters: Filters,
        get: Callable[[str], Container],
        images: Callable[[str], set[str]],
        settings: Callable[[Container], NetworkSettings],
    ) -> None:
        """`images` gives the ids of an image and those that are built on it.

        Raises InvalidParameter for values that are none, and NotFound for `before` and `since`.
        """
        self._filters = filters
        self._settings = settings
        for value in filters.values("status"):
            if value not in _STATUSES:
                raise InvalidParameter(f"invalid filter 'status={value}'")
        for value in filters.values("health"):
            if value not in _HEALTH:
                raise InvalidParameter(f"invalid filter 'health={value}'")
        self._exit_codes = {_number(value) for value in filters.values("exited")}
        self._before = [get(value).record.created_ns for value in filters.values("before")]
        self._since = [get(value).record.created_ns for value in filters.values("since")]
        self._images: set[str] | None = None
        if filters.values("ancestor"):
            self._images = set().union(*(images(value) for value in filters.values("ancestor")))

    @property
    def shows_stopped(self) -> bool:
        """Whether the filters ask for containers that do not run, so that `--all` is implied."""
        return bool(self._filters.values("status") or self._filters.values("exited"))

    def matches(self, container: Container) -> bool:
        """Whether the list shows the container."""
        filters, record, state = self._filters, container.record, container.state
        return (
            filters.exact("status", state.status)
            and filters.search("name", record.name, f"/{record.name}")
            and filters.prefix("id", record.id)
            and filters.labels(record.config.Labels)
            and filters.without_labels(record.config.Labels)
            and (not self._exit_codes or (state.status is Status.EXITED and state.exit_code in self._exit_codes))
            and all(record.created_ns < other for other in self._before)
            and all(record.created_ns > other for other in self._since)
            and (self._images is None or record.image_id in self._images)
            and filters.exact("health", state.health.Status if state.health else "none")
            and filters.flag("is-task") is not True
            and self._volume_matches(container)
            and self._network_matches(container)
            and self._ports_match(container)
        )

    def _volume_matches(self, container: Container) -> bool:
        pattern = self._filters.values("volume")
        return not pattern or any(
            value in (plan.name, plan.destination, plan.source) for value in pattern for plan in container.record.mounts
        )

    def _network_matches(self, container: Container) -> bool:
        pattern = self._filters.values("network")
        if not pattern:
            return True
        networks = self._settings(container).Networks
        return any(
            value == name or endpoint.NetworkID.startswith(value)
            for value in pattern
            for name, endpoint in networks.items()
        )

    def _ports_match(self, container: Container) -> bool:
        exposed, published = self._filters.values("expose"), self._filters.values("publish")
        if not (exposed or published):
            return True
        ports = self._settings(container).Ports
        if exposed and not any(_port_matches(value, ports) for value in exposed):
            return False
        host_ports = [
            f"{binding.HostPort}/{key.partition('/')[2]}"
            for key, bindings in ports.items()
            for binding in bindings or ()
        ]
        return not published or any(_port_matches(value, host_ports) for value in published)


def _port_matches(pattern: str, keys: Iterable[str]) -> bool:
    number, _, protocol = pattern.partition("/")
    first, _, last = number.partition("-")
    low, high = _number(first), _number(last or first)
    for key in keys:
        port, _, kind = key.partition("/")
        if low <= int(port) <= high and kind == (protocol or "tcp"):
            return True
    return False


def _number(text: str) -> int:
    if text.isascii() and text.lstrip("-").isdigit():
        return int(text)
    raise InvalidParameter(f"invalid filter: {text!r} is no number")
