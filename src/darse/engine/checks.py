"""What of a configuration only the host tells whether it is right: looked at by a start and by `darsed --validate`."""

from __future__ import annotations

from darse.containers.logs import drivers as log_drivers
from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter
from darse.engine.configuration.hosts import find_group
from darse.runtime.subordinate_ids import find_subordinates, read_maps
from darse.runtime.sysinfo import RLIMITS
from darse.wire.host_config import LogConfig


def check(config: EngineConfig) -> None:
    """Raise InvalidParameter for what means nothing; nothing is made, the user of `userns-remap=default` neither."""
    log_drivers.check(LogConfig(config.log_driver, config.log_options))
    if config.userns_remap not in ("", "default"):
        owners = find_subordinates(config.userns_remap)
        if owners is not None:
            read_maps(owners)
    for name in config.default_ulimits:
        if name not in RLIMITS:
            raise InvalidParameter(f"invalid ulimit type: {name}")
    if config.group:
        find_group(config.group)
