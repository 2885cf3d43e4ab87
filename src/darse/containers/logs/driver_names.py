"""Which logging drivers are the engine's own. Any other name is that of a plugin."""

from __future__ import annotations

from typing import Final

#: Those whose log stays on this host's disk.
LOCAL_DRIVERS: Final = frozenset(("json-file", "local", "none"))
#: Those that send it.
SENDING_DRIVERS: Final = ("fluentd", "gelf", "journald", "splunk", "syslog")


def is_plugin(name: str) -> bool:
    """Whether a driver is none of the engine's own."""
    return name not in LOCAL_DRIVERS and name not in SENDING_DRIVERS
