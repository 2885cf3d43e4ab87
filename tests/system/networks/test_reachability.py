"""From where what can be reached: kinds of networks by who asks by where by family by protocol, as one table.

Who asks: the host, another machine (`outside`, which has a route to the containers' addresses), a container of the same
network (`sibling`), of another (`stranger`) and of an internal one (`inner`), and the container itself.

What is asked: the published port on the host's loopback, on its address towards the other machine and on the gateway's;
and directly on the container's address, that port and another that is not published.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import pytest
from tests.system.networks.support import Host, Outside, ask, host_port

from darse.linux import sysctl
from darse.networks.options import GATEWAY_MODES, ICC
from darse.networks.sandboxes import Sandbox

WHERE = ("loopback", "address", "gateway", "direct", "unpublished")
# One letter for each of WHERE: y(es) or n(o); `-` where the question makes no sense (everyone has a loopback).
PUBLISHED = {
    "host": "yyyyy",
    "outside": "-yynn",
    "sibling": "-yyyy",
    "stranger": "-yynn",
    "inner": "-nnnn",
    "itself": "-yyyy",
}
KINDS = {
    "nat": PUBLISHED,
    # Where the host does not filter what is bridged, see below, siblings do not reach published ports either.
    "icc off": {**PUBLISHED, "sibling": "-yynn"},
    "nat-unprotected": {**PUBLISHED, "outside": "-yyyy", "stranger": "-yyyy"},
    "routed": {
        "host": "nnnyy",
        "outside": "-nnyn",
        "sibling": "-nnyy",
        "stranger": "-nnyn",
        "inner": "-nnnn",
        "itself": "-nnyy",
    },
    "internal": {
        "host": "nnnyy",
        "outside": "-nnnn",
        "sibling": "-nnyy",
        "stranger": "-nnnn",
        "inner": "-nnnn",
        "itself": "-nnyy",
    },
}


def _options(kind: str, version: int) -> dict[str, str]:
    if kind == "icc off":
        return {ICC: "false"}
    return {GATEWAY_MODES[version]: kind} if kind in ("nat-unprotected", "routed") else {}


def _address(sandbox: Sandbox, version: int) -> str:
    endpoint = sandbox.record.endpoints[0]
    return endpoint.address6 if version == 6 else endpoint.address


def _questions(
    kind: str, askers: dict[str, str | None], addresses: dict[str, str], number: int
) -> Iterator[tuple[str, str, str | None, str, int, bool]]:
    ports = {"direct": 80, "unpublished": 81}
    for who, answers in KINDS[kind].items():
        for where, expected in zip(WHERE, answers, strict=True):
            if expected != "-" and where in addresses:
                yield who, where, askers[who], addresses[where], ports.get(where, number), expected == "y"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_table(host: Host, outside: Outside, kind: str, version: int, protocol: str) -> None:
    udp, any_ = protocol == "udp", "::" if version == 6 else "0.0.0.0"
    await host.network("net", ipv6=True, internal=kind == "internal", **_options(kind, version))
    await host.network("other", ipv6=True)
    await host.network("shut", ipv6=True, internal=True)
    number = 20000 + secrets.randbelow(10000)
    target = await host.sandbox("target", "net", ports=host_port(number, protocol=protocol))
    sibling, stranger = await host.sandbox("sibling", "net"), await host.sandbox("stranger", "other")
    inner = await host.sandbox("inner", "shut")
    own = _address(target, version)
    for port in (80, 81):
        host.serve(target, port, udp=udp, ip=own if udp else any_)
    pool = host.service.store.get("net").pool(version)
    assert pool is not None
    outside.route(pool.subnet)
    askers = {
        "host": None,
        "outside": outside.path,
        "sibling": sibling.path,
        "stranger": stranger.path,
        "inner": inner.path,
        "itself": target.path,
    }
    addresses = {
        "loopback": "::1" if version == 6 else "127.0.0.1",
        "address": outside.host_ip6 if version == 6 else outside.host_ip,
        "gateway": pool.gateway,
        "direct": own,
        "unpublished": own,
    }
    if kind == "icc off" and not sysctl.enabled("net/bridge/bridge-nf-call-iptables"):
        pytest.skip("the host does not filter what is bridged: the bridge isolates its ports, published or not")
    asked = list(_questions(kind, askers, addresses, number))

    def reached(path: str | None, address: str, port: int, *, expected: bool) -> bool:
        try:
            return ask(path, address, port, udp=udp, seconds=3 if expected else 0.4).startswith("target ")
        except OSError:
            return False

    answers = await asyncio.gather(
        *(asyncio.to_thread(reached, path, to, port, expected=expected) for _, _, path, to, port, expected in asked)
    )
    wrong = [
        f"{who} {'reaches' if answer else 'does not reach'} {where}"
        for (who, where, *_, expected), answer in zip(asked, answers, strict=True)
        if answer != expected
    ]
    assert not wrong, f"{kind}, IPv{version}, {protocol}: {'; '.join(wrong)}"
