"""What `darse doctor` says of networks: whether they are on the host as the engine has left them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from darse.core import executors
from darse.core.config import EngineConfig
from darse.linux import sysctl
from darse.networks.drivers import BridgeDriver
from darse.networks.firewall import ANY, Firewall
from darse.networks.model import NetworkRecord, PublishedPort, SandboxRecord
from darse.networks.store import NetworkStore
from darse.wire.system import Finding


async def examine(
    config: EngineConfig, store: NetworkStore, bridges: BridgeDriver, firewall: Firewall | None
) -> list[Finding]:
    """Compare bridges, switches and rules with the records."""
    found = await executors.kernel.run(_of_bridges, list(store), bridges)
    # In the event loop, whose the context of the library is.
    found += _of_firewall(config, bridges, firewall)
    return found or [Finding("ok", "networks", "bridges and rules are as they should be")]


def _of_bridges(records: Sequence[NetworkRecord], bridges: BridgeDriver) -> list[Finding]:
    """What the kernel says of each network. Blocks."""
    found = [
        finding
        for record in records
        if record.bridge and record.pool(4) is not None and bridges.exists(record)
        if (finding := _switches(record.bridge)) is not None
    ]
    for record in records:
        wrong = bridges.what_is_wrong(record) if record.bridge else ""
        if wrong:
            advice = "it is put right within seconds; if not, see the engine's log"
            found.append(Finding("problem", f"network {record.name}", f"bridge {record.bridge} is {wrong}", advice))
    return found


def _of_firewall(config: EngineConfig, bridges: BridgeDriver, firewall: Firewall | None) -> list[Finding]:
    found = []
    if firewall is None:
        advice = "start darsed without --iptables=false"
        found.append(Finding("note", "isolation", "none between networks, and no published ports", advice))
    elif not firewall.exists():
        text = f"somebody deleted the table ip {config.nft_table}"
        found.append(Finding("problem", "firewall", text, "restart darsed; find out who flushes the ruleset"))
    if bridges.programs.refused:
        text = f"without the firewall's table networks reach each other: {bridges.programs.refused}"
        found.append(Finding("note", "isolation", text, "modprobe sch_ingress cls_bpf, and let darsed use bpf(2)"))
    return found


def open_ports(sandboxes: Iterable[SandboxRecord], other_firewall: str, owner_table: str) -> list[Finding]:
    """A finding for each container with ports that other machines reach, past what the administrator's firewall says.

    What a published port gets is translated before `other_firewall` looks at it, and so is never for the host itself.
    """
    if not other_firewall:
        return []
    found = []
    for sandbox in sandboxes:
        ports = sorted({(one.host_port, one.protocol) for one in sandbox.published if _is_open(one)})
        if ports:
            text = ", ".join(f"{number}/{protocol}" for number, protocol in ports)
            number, protocol = ports[0]
            advice = (
                f"publish with -p 127.0.0.1:{number}:…, or allow whom you trust: nft add rule {owner_table} forward "
                f"meta l4proto {protocol} ct original proto-dst {number} ip saddr != 203.0.113.0/24 drop"
            )
            subject = f"ports of {sandbox.container_name}"
            found.append(Finding("note", subject, f"open to other machines, past {other_firewall}: {text}", advice))
    return found


def _is_open(port: PublishedPort) -> bool:
    # What is relayed is for the host itself, as that firewall sees it.
    return (
        port.host_port != 0
        and not port.relayed
        and (port.host_ip in ANY or not ipaddress.ip_address(port.host_ip).is_loopback)
    )


def _switches(bridge: str) -> Finding | None:
    if sysctl.enabled(f"net/ipv4/conf/{bridge}/route_localnet"):
        return None
    return Finding(
        "problem",
        f"bridge {bridge}",
        "somebody switched route_localnet off: ports published on this host do not answer on 127.0.0.1",
        f"sysctl -w net.ipv4.conf.{bridge}.route_localnet=1",
    )
