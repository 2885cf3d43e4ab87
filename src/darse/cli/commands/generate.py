"""`darse generate compose`: a compose file from containers that are there."""

from __future__ import annotations

import re
import sys
from typing import Any

from darse.cli.command_line.flags import Command, Flag, string
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.client.requests import containers, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from darse.client.documents.containers import ContainerInspectDocument

_BILLION = 1_000_000_000
_BUILTIN_NETWORKS = frozenset({"bridge", "default", ""})
_SERVICE_LABEL = "com.docker.compose.service"
# Members of HostConfig that are attributes as they are, where they say something.
_HOST = {
    "CapAdd": "cap_add",
    "CapDrop": "cap_drop",
    "CgroupParent": "cgroup_parent",
    "CpuShares": "cpu_shares",
    "CpusetCpus": "cpuset",
    "DeviceCgroupRules": "device_cgroup_rules",
    "Dns": "dns",
    "DnsOptions": "dns_opt",
    "DnsSearch": "dns_search",
    "ExtraHosts": "extra_hosts",
    "GroupAdd": "group_add",
    "Init": "init",
    "Memory": "mem_limit",
    "MemoryReservation": "mem_reservation",
    "OomScoreAdj": "oom_score_adj",
    "PidMode": "pid",
    "PidsLimit": "pids_limit",
    "Privileged": "privileged",
    "ReadonlyRootfs": "read_only",
    "SecurityOpt": "security_opt",
    "Sysctls": "sysctls",
    "UTSMode": "uts",
    "UsernsMode": "userns_mode",
}
_DEFAULT_SHM = 64 << 20


def generate(invocation: Invocation) -> int:
    """Print a file that makes such containers."""
    from darse.compose.output.encode import go_json
    from darse.compose.yaml import writer

    form = invocation.options.format
    if form not in ("yaml", "json"):
        raise CliError(f"unsupported format {form!r}: it is yaml or json")
    found = [invocation.client.do(containers.inspect(one)) for one in invocation.arguments]
    images = {one["Image"]: _image(invocation, one["Image"]) for one in found}
    document = compose_file(found, images, invocation.options.name)
    sys.stdout.write(f"{go_json(document, indent=2)}\n" if form == "json" else writer.write(document))
    return 0


def _image(invocation: Invocation, identifier: str) -> Mapping[str, Any]:
    config: Mapping[str, Any] = invocation.client.do(images.inspect(identifier))["Config"] or {}
    return config


def compose_file(
    inspected: Sequence[ContainerInspectDocument], images: Mapping[str, Mapping[str, Any]], name: str = ""
) -> dict[str, Any]:
    """The document for containers as inspect shows them; `images` has `Config` of each one's image by its id.

    What an image says already is left out, and so is what the engine fills in. Networks and volumes with a name are
    external: they are there, and what is in them stays. Raises CliError for two containers of one service's name.
    """
    services: dict[str, Any] = {}
    networks: dict[str, Any] = {}
    volumes: dict[str, Any] = {}
    names = {one["Id"]: _service_name(one) for one in inspected}
    for one in inspected:
        service = names[one["Id"]]
        if service in services:
            raise CliError(f"two containers would be service {service}: name one of them only")
        services[service] = _service(one, images[one["Image"]], names, networks, volumes)
    document: dict[str, Any] = {"name": name} if name else {}
    document["services"] = services
    if networks:
        document["networks"] = networks
    if volumes:
        document["volumes"] = volumes
    return document


def _service_name(container: Mapping[str, Any]) -> str:
    labels = container["Config"].get("Labels") or {}
    found = labels.get(_SERVICE_LABEL) or container["Name"].removeprefix("/")
    return re.sub(r"[^a-zA-Z0-9._-]", "_", str(found))


def _service(
    container: Mapping[str, Any],
    image: Mapping[str, Any],
    names: Mapping[str, str],
    networks: dict[str, Any],
    volumes: dict[str, Any],
) -> dict[str, Any]:
    config, host = container["Config"], container["HostConfig"]
    found: dict[str, Any] = {"image": config["Image"], "container_name": container["Name"].removeprefix("/")}
    for member, attribute in (
        ("Entrypoint", "entrypoint"),
        ("Cmd", "command"),
        ("User", "user"),
        ("WorkingDir", "working_dir"),
        ("StopSignal", "stop_signal"),
    ):
        if config.get(member) and config[member] != image.get(member):
            value = config[member]
            found[attribute] = [_escaped(one) for one in value] if isinstance(value, list) else _escaped(value)
    variables = [one for one in config.get("Env") or () if one not in (image.get("Env") or ())]
    if variables:
        found["environment"] = {key: _escaped(value) for key, _, value in (one.partition("=") for one in variables)}
    labels = {
        key: _escaped(value)
        for key, value in (config.get("Labels") or {}).items()
        if not key.startswith("com.docker.compose.") and (image.get("Labels") or {}).get(key) != value
    }
    if labels:
        found["labels"] = labels
    if config.get("Hostname") and not container["Id"].startswith(config["Hostname"]):
        found["hostname"] = config["Hostname"]
    for member, attribute in (("Tty", "tty"), ("OpenStdin", "stdin_open")):
        if config.get(member):
            found[attribute] = True
    if config.get("StopTimeout") is not None:
        found["stop_grace_period"] = f"{config['StopTimeout']}s"
    if config.get("Healthcheck") and config["Healthcheck"] != image.get("Healthcheck"):
        found["healthcheck"] = _health(config["Healthcheck"])
    found |= _host_attributes(host)
    found |= _network_attributes(container, host, names, networks)
    if ports := _ports(host):
        found["ports"] = ports
    if mounts := _mounts(container, volumes):
        found["volumes"] = mounts
    return found


def _escaped(text: str) -> str:
    """A dollar sign begins a variable in a file."""
    return text.replace("$", "$$")


def _health(check: Mapping[str, Any]) -> dict[str, Any]:
    if check.get("Test") == ["NONE"]:
        return {"disable": True}
    found: dict[str, Any] = {"test": [_escaped(one) for one in check["Test"]]} if check.get("Test") else {}
    for member, attribute in (
        ("Interval", "interval"),
        ("Timeout", "timeout"),
        ("StartPeriod", "start_period"),
        ("StartInterval", "start_interval"),
    ):
        if check.get(member):
            found[attribute] = (
                f"{check[member] // 1000}us" if check[member] % _BILLION else f"{check[member] // _BILLION}s"
            )
    if check.get("Retries"):
        found["retries"] = check["Retries"]
    return found


def _host_attributes(host: Mapping[str, Any]) -> dict[str, Any]:
    found = {attribute: host[member] for member, attribute in _HOST.items() if host.get(member)}
    policy = host.get("RestartPolicy") or {}
    if policy.get("Name") not in (None, "", "no"):
        most = policy.get("MaximumRetryCount") or 0
        found["restart"] = f"{policy['Name']}:{most}" if most else policy["Name"]
    if host.get("NanoCpus"):
        found["cpus"] = host["NanoCpus"] / _BILLION
    if host.get("ShmSize") not in (None, 0, _DEFAULT_SHM):
        found["shm_size"] = host["ShmSize"]
    if host.get("Tmpfs"):
        found["tmpfs"] = [f"{path}:{options}" if options else path for path, options in host["Tmpfs"].items()]
    if host.get("Ulimits"):
        found["ulimits"] = {one["Name"]: {"soft": one["Soft"], "hard": one["Hard"]} for one in host["Ulimits"]}
    if host.get("Devices"):
        found["devices"] = [
            f"{one['PathOnHost']}:{one['PathInContainer']}:{one['CgroupPermissions'] or 'rwm'}"
            for one in host["Devices"]
        ]
    logging = host.get("LogConfig") or {}
    if logging.get("Config") or logging.get("Type") not in ("", "json-file", None):
        found["logging"] = {"driver": logging["Type"], "options": logging.get("Config") or {}}
    return found


def _network_attributes(
    container: Mapping[str, Any], host: Mapping[str, Any], names: Mapping[str, str], networks: dict[str, Any]
) -> dict[str, Any]:
    mode = host.get("NetworkMode") or ""
    if mode in ("host", "none"):
        return {"network_mode": mode}
    if mode.startswith("container:"):
        other = mode.removeprefix("container:")
        return {"network_mode": f"service:{names[other]}" if other in names else mode}
    found = {}
    for name, endpoint in sorted((container["NetworkSettings"].get("Networks") or {}).items()):
        if name in _BUILTIN_NETWORKS:
            continue
        networks[name] = {"external": True}
        own = {container["Name"].removeprefix("/"), container["Id"][:12], names[container["Id"]]}
        attributes: dict[str, Any] = {}
        if aliases := [one for one in endpoint.get("Aliases") or () if one not in own]:
            attributes["aliases"] = aliases
        if address := (endpoint.get("IPAMConfig") or {}).get("IPv4Address"):
            attributes["ipv4_address"] = address
        found[name] = attributes or None
    # By itself on the engine's default bridge.
    return {"networks": found} if found else {"network_mode": "bridge"}


def _ports(host: Mapping[str, Any]) -> list[str]:
    found = []
    for key, bindings in (host.get("PortBindings") or {}).items():
        for one in bindings or ():
            address = one.get("HostIp") or ""
            shown = f"[{address}]" if ":" in address else address
            target = key.removesuffix("/tcp")
            published = one.get("HostPort") or ""
            found.append(f"{shown}:{published}:{target}" if shown else f"{published}:{target}" if published else target)
    return found


def _mounts(container: Mapping[str, Any], volumes: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for one in container.get("Mounts") or ():
        if one["Type"] not in ("bind", "volume"):
            continue
        entry: dict[str, Any] = {"type": one["Type"], "target": one["Destination"]}
        name = one.get("Name", "")
        if one["Type"] == "bind":
            entry["source"] = one["Source"]
        elif not re.fullmatch(r"[0-9a-f]{64}", name):
            entry["source"] = name
            volumes[name] = {"external": True}
        if not one.get("RW", True):
            entry["read_only"] = True
        found.append(entry)
    return found


COMMANDS = {
    "generate compose": (
        Command(
            "generate compose",
            "[OPTIONS] CONTAINER [CONTAINER...]",
            "Print a compose file that makes containers like these",
            (
                string("format", "Format the output. Values: [yaml | json]", default="yaml"),
                string("name", "Name of the project"),
                Flag("project-dir", "string", "Directory to use for the project (of no effect)", hidden=True),
            ),
            1,
            None,
        ),
        generate,
    )
}
