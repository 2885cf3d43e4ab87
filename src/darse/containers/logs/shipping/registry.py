"""The drivers that send logs elsewhere, by name."""

from __future__ import annotations

from typing import Final

from darse.containers.logs.shipping import fluentd, gelf, journald, splunk, syslog
from darse.containers.logs.shipping.receivers import RemoteDriver

REMOTE_DRIVERS: Final[dict[str, RemoteDriver]] = {
    "fluentd": fluentd.DRIVER,
    "gelf": gelf.DRIVER,
    "journald": journald.DRIVER,
    "splunk": splunk.DRIVER,
    "syslog": syslog.DRIVER,
}
