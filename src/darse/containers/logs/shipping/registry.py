"""The drivers that send logs elsewhere, by name. Each is imported when a log needs it: few engines send any."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final

from darse.containers.logs.shipping.receivers import RemoteDriver

_NAMES: Final = ("fluentd", "gelf", "journald", "splunk", "syslog")


class _RemoteDrivers(Mapping[str, RemoteDriver]):
    """The module of this package that is named as the driver has it as `DRIVER`."""

    def __getitem__(self, name: str) -> RemoteDriver:
        if name not in _NAMES:
            raise KeyError(name)
        driver: RemoteDriver = importlib.import_module(f"{__package__}.{name}").DRIVER
        return driver

    def __contains__(self, name: object) -> bool:
        return name in _NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


REMOTE_DRIVERS: Final = _RemoteDrivers()
