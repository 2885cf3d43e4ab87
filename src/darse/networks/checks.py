"""What `darse doctor` says of networks: whether they are on the host as the engine has left them."""

from __future__ import annotations

from darse.core.config import EngineConfig
from darse.linux import sysctl
from darse.networks.drivers import BridgeDriver
from darse.networks.firewall import Firewall
from darse.networks.store import NetworkStore
from darse.wire.system import Finding


def examine(
    config: EngineConfig, store: NetworkStore, bridges: BridgeDriver, firewall: Firewall | None
) -> list[Finding]:
    """Compare bridges, switches and rules with the records."""
    found: list[Finding | None] = [
        _switches(record.bridge)
        for record in store
        if record.bridge and record.pool(4) is not None and bridges.exists(record)
    ]
    for record in store:
        wrong = bridges.what_is_wrong(record) if record.bridge else ""
        if wrong:
            advice = "it is put right within seconds; if not, see the engine's log"
            found.append(Finding("problem", f"network {record.name}", f"bridge {record.bridge} is {wrong}", advice))
    if firewall is None:
        advice = "start darsed without --iptables=false"
        found.append(Finding("note", "isolation", "none between networks, and no published ports", advice))
    elif not firewall.exists():
        text = f"somebody deleted the table ip {config.nft_table}"
        found.append(Finding("problem", "firewall", text, "restart darsed; find out who flushes the ruleset"))
    if bridges.programs.refused:
        text = f"without the firewall's table networks reach each other: {bridges.programs.refused}"
        found.append(Finding("note", "isolation", text, "modprobe sch_ingress cls_bpf, and let darsed use bpf(2)"))
    return [finding for finding in found if finding is not None] or [
        Finding("ok", "networks", "bridges and rules are as they should be")
    ]


def _switches(bridge: str) -> Finding | None:
    if sysctl.enabled(f"net/ipv4/conf/{bridge}/route_localnet"):
        return None
    return Finding(
        "problem",
        f"bridge {bridge}",
        "somebody switched route_localnet off: ports published on this host do not answer on 127.0.0.1",
        f"sysctl -w net.ipv4.conf.{bridge}.route_localnet=1",
    )
