"""The drivers that the command knows of are the engine's."""

from __future__ import annotations

from darse.cli.command_line import builtin_drivers
from darse.networks import drivers


def test_network_drivers_are_the_engine_s() -> None:
    classes = [getattr(drivers, name) for name in drivers.__all__ if name.endswith("Driver") and name != "Driver"]
    assert sorted(builtin_drivers.NETWORK) == sorted(one.name for one in classes)
