"""The drivers that send logs elsewhere, by name. Each is imported when a log needs it: few engines send any."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final

from darse.containers.logs.driver_names import SENDING_DRIVERS
from darse.containers.logs.shipping.receivers import RemoteDriver


class _RemoteDrivers(Mapping[str, RemoteDriver]):
    """The module of this package that is named as the driver has it as `DRIVER`."""

    def __getitem__(self, name: str) -> RemoteDriver:
        if name not in SENDING_DRIVERS:
            raise KeyError(name)
        driver: RemoteDriver = importlib.import_module(f"{__package__}.{name}").DRIVER
        return driver

    def __contains__(self, name: object) -> bool:
        return name in SENDING_DRIVERS

    def __iter__(self) -> Iterator[str]:
        return iter(SENDING_DRIVERS)

    def __len__(self) -> int:
        return len(SENDING_DRIVERS)


REMOTE_DRIVERS: Final = _RemoteDrivers()
