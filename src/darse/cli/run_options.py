"""From the flags of `run` and `create` to the body of the API's create request."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from darse.cli.errors import CliError
from darse.cli.flags import Options

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[bkmgtp]?)i?b?\Z", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def size(text: str, flag: str) -> int:
    """Bytes of `64m`. Raises CliError."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise _invalid(text, flag, f"invalid size: '{text}'")
    return int(float(match["number"]) * _UNITS[match["unit"].lower()])


def duration(text: str, flag: str) -> int:
    """Nanoseconds of `1m30s`. Raises CliError."""
    if text in ("0", ""):
        return 0
    total, end = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != end:
            break
        total += float(match[1]) * _NANOSECONDS[match[2]]
        end = match.end()
    if end != len(text) or not end:
        raise _invalid(text, flag, f'time: invalid duration "{text}"')
    return int(total)


def _invalid(text: str, flag: str, reason: str) -> CliError:
    return CliError(f'invalid argument "{text}" for "--{flag}" flag: {reason}', 125)


def create_body(options: Options, arguments: list[str]) -> dict[str, Any]:
    """The whole request. Raises CliError for what docker's own client refuses."""
    image, *command = arguments
    attached = {stream.lower() for stream in options.attach}
    if attached - {"stdin", "stdout", "stderr"}:
        raise CliError("invalid argument for -a, --attach: valid streams are STDIN, STDOUT and STDERR", 125)
    detached = getattr(options, "detach", False)
    if not attached and not detached:
        attached = {"stdout", "stderr"} | ({"stdin"} if options.interactive else set())
    entrypoint: list[str] | None = None
    if "entrypoint" in options.given:
        entrypoint = [options.entrypoint]
    body: dict[str, Any] = {
        "Hostname": options.hostname,
        "Domainname": options.domainname,
        "User": options.user,
        "AttachStdin": "stdin" in attached,
        "AttachStdout": "stdout" in attached,
        "AttachStderr": "stderr" in attached,
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": options.interactive and not detached,
        "Env": environment(options.env, options.env_file),
        "Cmd": command or None,
        "Image": image,
        "WorkingDir": options.workdir,
        "Entrypoint": entrypoint,
        "MacAddress": options.mac_address,
        "Labels": labels(options.label, options.label_file),
        "StopSignal": options.stop_signal,
        "Healthcheck": _health(options),
    }
    if "stop-timeout" in options.given:
        body["StopTimeout"] = options.stop_timeout
    ports, exposed = port_specs(options.publish, options.expose)
    body["ExposedPorts"] = exposed
    volumes, binds = _volumes(options.volume)
    body["Volumes"] = volumes
    networks, mode = _networks(options)
    body["HostConfig"] = _host(options, binds, ports, mode)
    body["NetworkingConfig"] = {"EndpointsConfig": networks}
    return body


def _host(options: Options, binds: list[str], ports: dict[str, Any], mode: str) -> dict[str, Any]:
    host: dict[str, Any] = {
        **limits(options),
        "Binds": binds or None,
        "ContainerIDFile": options.cidfile,
        "LogConfig": {"Type": options.log_driver, "Config": _pairs(options.log_opt, "log-opt")},
        "NetworkMode": mode or "default",
        "PortBindings": ports,
        "RestartPolicy": restart_policy(options.restart),
        "AutoRemove": getattr(options, "rm", False),
        "VolumeDriver": options.volume_driver,
        "VolumesFrom": options.volumes_from or None,
        "Mounts": [mount_spec(text) for text in options.mount] or None,
        "CapAdd": options.cap_add or None,
        "CapDrop": options.cap_drop or None,
        "CgroupnsMode": options.cgroupns,
        "Dns": options.dns,
        "DnsOptions": [*options.dns_option, *options.dns_opt],
        "DnsSearch": options.dns_search,
        "ExtraHosts": [_extra_host(text) for text in options.add_host],
        "GroupAdd": options.group_add or None,
        "IpcMode": options.ipc,
        "Links": options.link or None,
        "OomScoreAdj": options.oom_score_adj or 0,
        "PidMode": options.pid,
        "Privileged": options.privileged,
        "PublishAllPorts": options.publish_all,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": [_security_option(text) for text in options.security_opt] or None,
        "StorageOpt": _pairs(options.storage_opt, "storage-opt") or None,
        "Tmpfs": dict(text.partition(":")[::2] for text in options.tmpfs) or None,
        "UTSMode": options.uts,
        "UsernsMode": options.userns,
        "ShmSize": size(options.shm_size, "shm-size") if options.shm_size else 0,
        "Sysctls": _pairs(options.sysctl, "sysctl") or None,
        "Runtime": options.runtime,
        "Isolation": options.isolation,
        "CgroupParent": options.cgroup_parent,
        "Devices": [_device(text) for text in options.device if not _is_named_device(text)],
        "DeviceCgroupRules": options.device_cgroup_rule or None,
        "DeviceRequests": _device_requests(options),
        "MemorySwappiness": options.memory_swappiness,
        "OomKillDisable": options.oom_kill_disable or None,
        "Ulimits": [_ulimit(text) for text in options.ulimit] or None,
        "BlkioWeightDevice": [_weight(text) for text in options.blkio_weight_device],
        "BlkioDeviceReadBps": [_rate(text) for text in options.device_read_bps],
        "BlkioDeviceWriteBps": [_rate(text) for text in options.device_write_bps],
        "BlkioDeviceReadIOps": [_rate(text) for text in options.device_read_iops],
        "BlkioDeviceWriteIOps": [_rate(text) for text in options.device_write_iops],
        "Annotations": _pairs(options.annotation, "annotation") or None,
    }
    if "init" in options.given:
        host["Init"] = options.init
    return host


def limits(options: Options) -> dict[str, Any]:
    """The limits that `update` can change, too. Raises CliError."""
    swap = -1 if options.memory_swap == "-1" else size(options.memory_swap, "memory-swap") if options.memory_swap else 0
    reservation = size(options.memory_reservation, "memory-reservation") if options.memory_reservation else 0
    kernel = {"KernelMemory": size(options.kernel_memory, "kernel-memory")} if options.kernel_memory else {}
    return {
        **kernel,
        "BlkioWeight": options.blkio_weight or 0,
        "CpuShares": options.cpu_shares or 0,
        "NanoCpus": _cpus(options.cpus),
        "CpuPeriod": options.cpu_period or 0,
        "CpuQuota": options.cpu_quota or 0,
        "CpuRealtimePeriod": options.cpu_rt_period or 0,
        "CpuRealtimeRuntime": options.cpu_rt_runtime or 0,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "Memory": size(options.memory, "memory") if options.memory else 0,
        "MemoryReservation": reservation,
        "MemorySwap": swap,
        "PidsLimit": options.pids_limit,
    }


def environment(entries: list[str], files: list[str]) -> list[str]:
    """`--env-file`s, then `-e`s; a bare name takes this process's value, or nothing. Raises CliError."""
    result = []
    for path in files:
        for number, line in enumerate(_lines(path), 1):
            text = line.lstrip()
            if not text or text.startswith("#"):
                continue
            name = text.partition("=")[0]
            if not name:
                raise CliError(f"invalid env file ({path}): no variable name on line '{text}'", 125)
            if any(character.isspace() for character in name):
                raise CliError(
                    f"invalid env file ({path}): variable '{name}' contains whitespaces (line {number})", 125
                )
            result.append(text)
    found = []
    for entry in [*result, *entries]:
        name, equals, _ = entry.partition("=")
        if not name:
            raise CliError(
                f'invalid argument "{entry}" for "-e, --env" flag: invalid environment variable: {entry}', 125
            )
        if equals:
            found.append(entry)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
    return found


def labels(entries: list[str], files: list[str]) -> dict[str, str]:
    """`--label-file`s, then `--label`s."""
    lines = [line for path in files for line in _lines(path) if line.strip() and not line.startswith("#")]
    return dict(entry.partition("=")[::2] for entry in [*lines, *entries])


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read().splitlines()
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or '').lower()}", 125) from error


def _pairs(entries: list[str], flag: str) -> dict[str, str]:
    pairs = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals:
            raise _invalid(entry, flag, f"invalid {flag}: {entry}: key=value is wanted")
        pairs[key] = value
    return pairs


def restart_policy(text: str) -> dict[str, Any]:
    """`on-failure:3`. Raises CliError."""
    name, separator, count = text.partition(":")
    if separator and not count.isdecimal():
        raise CliError("invalid restart policy format: maximum retry count must be an integer", 125)
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def _cpus(text: str) -> int:
    if not text:
        return 0
    try:
        return round(float(text) * 1_000_000_000)
    except ValueError:
        raise _invalid(text, "cpus", f"failed to parse {text} as a rational number") from None


def _extra_host(text: str) -> str:
    name, separator, address = text.partition("=") if "=" in text else text.partition(":")
    if not separator or not name or not address:
        raise CliError(f'invalid argument "{text}" for "--add-host" flag: bad format for add-host: "{text}"', 125)
    return f"{name}:{address.strip('[]')}"


def _security_option(text: str) -> str:
    key, equals, value = text.partition("=")
    if key == "seccomp" and equals and value not in ("unconfined", "builtin"):
        try:
            with open(value, encoding="utf-8") as file:
                return f"seccomp={json.dumps(json.load(file), separators=(',', ':'))}"
        except OSError as error:
            raise CliError(f"opening seccomp profile ({value}) failed: {error.strerror}", 125) from error
        except ValueError as error:
            raise CliError(f"compacting json for seccomp profile ({value}) failed: {error}", 125) from error
    return text


def _is_named_device(text: str) -> bool:
    """Whether a `--device` is a name of the Container Device Interface, `vendor.com/class=name`."""
    return re.match(r"[A-Za-z][\w.-]*/[A-Za-z][\w-]*=[A-Za-z0-9][\w.:-]*\Z", text, re.ASCII) is not None


def _device(text: str) -> dict[str, str]:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if target and not mode and not target.startswith("/"):
        target, mode = "", target
    return {"PathOnHost": source, "PathInContainer": target or source, "CgroupPermissions": mode or "rwm"}


def _device_requests(options: Options) -> list[dict[str, Any]] | None:
    named = [text for text in options.device if _is_named_device(text)]
    requests = [{"Driver": "cdi", "DeviceIDs": named}] if named else []
    return [*requests, *([_gpus(options.gpus)] if options.gpus else ())] or None


def _gpus(text: str) -> dict[str, Any]:
    """`all`, a number, or fields such as `device=0,capabilities=utility`; a field with commas is quoted."""
    import csv

    request: dict[str, Any] = {"Driver": "", "Count": 0, "Capabilities": [["gpu"]]}
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        if not equals or key == "count":
            number = value if equals else key
            if number != "all" and not number.isdecimal():
                raise _invalid(text, "gpus", f'invalid count ({number}): value must be either "all" or an integer')
            request["Count"] = -1 if number == "all" else int(number)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "driver":
            request["Driver"] = value
        elif key == "capabilities":
            request["Capabilities"] = [sorted({*value.split(","), "gpu"})]
        elif key == "options":
            request["Options"] = dict(option.partition("=")[::2] for option in value.split(","))
        else:
            raise _invalid(text, "gpus", f"unexpected key '{key}' in '{field}'")
    if request["Count"] == 0 and "DeviceIDs" not in request:
        request["Count"] = 1
    return request


def _ulimit(text: str) -> dict[str, Any]:
    name, equals, numbers = text.partition("=")
    soft, _, hard = numbers.partition(":")
    try:
        low = int(soft)
        high = int(hard) if hard else low
    except ValueError:
        raise _invalid(text, "ulimit", f"invalid ulimit argument: {text}") from None
    if not equals:
        raise _invalid(text, "ulimit", f"invalid ulimit argument: {text}")
    if high != -1 and low > high:
        raise _invalid(text, "ulimit", f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    return {"Name": name, "Soft": low, "Hard": high}


def _weight(text: str) -> dict[str, Any]:
    path, _, weight = text.rpartition(":")
    if not path.startswith("/dev/") or not weight.isdecimal():
        raise CliError(f"bad format: {text}", 125)
    return {"Path": path, "Weight": int(weight)}


def _rate(text: str) -> dict[str, Any]:
    path, _, rate = text.rpartition(":")
    if not path.startswith("/dev/"):
        raise CliError(f"bad format for device path: {text}", 125)
    return {"Path": path, "Rate": size(rate, "device")}


def _health(options: Options) -> dict[str, Any] | None:
    if options.no_healthcheck:
        if options.health_cmd:
            raise CliError("--no-healthcheck conflicts with --health-* options", 125)
        return {"Test": ["NONE"]}
    names = ("health-cmd", "health-interval", "health-timeout", "health-retries", "health-start-period")
    if not options.given & {*names, "health-start-interval"}:
        return None
    return {
        "Test": ["CMD-SHELL", options.health_cmd] if options.health_cmd else None,
        "Interval": duration(options.health_interval, "health-interval"),
        "Timeout": duration(options.health_timeout, "health-timeout"),
        "StartPeriod": duration(options.health_start_period, "health-start-period"),
        "StartInterval": duration(options.health_start_interval, "health-start-interval"),
        "Retries": options.health_retries or 0,
    }


def _volumes(entries: list[str]) -> tuple[dict[str, Any], list[str]]:
    """`-v`: a bare path is an anonymous volume, the rest are binds; relative paths become absolute, as in docker."""
    volumes: dict[str, Any] = {}
    binds = []
    for entry in entries:
        source, separator, rest = entry.partition(":")
        if not separator:
            if not entry.startswith("/"):
                raise CliError(f"invalid volume specification: '{entry}': mount path must be absolute", 125)
            volumes[entry] = {}
            continue
        if source.startswith((".", "~")):
            source = os.path.abspath(os.path.expanduser(source))
        binds.append(f"{source}:{rest}")
    return volumes, binds


def mount_spec(text: str) -> dict[str, Any]:
    """One `--mount type=…,source=…,target=…`. Raises CliError."""
    import csv

    mount: dict[str, Any] = {"Type": "volume"}
    bind: dict[str, Any] = {}
    volume: dict[str, Any] = {}
    image: dict[str, Any] = {}
    tmpfs: dict[str, Any] = {}
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        key = key.lower()
        on = value.lower() in ("", "1", "true")
        if key == "type":
            mount["Type"] = value.lower()
        elif key in ("source", "src"):
            mount["Source"] = os.path.abspath(value) if value.startswith(".") else value
        elif key in ("target", "dst", "destination"):
            mount["Target"] = value
        elif key in ("readonly", "ro"):
            mount["ReadOnly"] = on
        elif key == "consistency":
            mount["Consistency"] = value
        elif key == "bind-propagation":
            bind["Propagation"] = value
        elif key == "bind-nonrecursive":
            bind["NonRecursive"] = on
        elif key == "bind-recursive":
            bind |= {"disabled": {"NonRecursive": True}, "readonly": {"ReadOnlyForceRecursive": True}}.get(value, {})
        elif key == "volume-nocopy":
            volume["NoCopy"] = on
        elif key == "volume-subpath":
            volume["Subpath"] = value
        elif key == "volume-label":
            volume.setdefault("Labels", {}).update([value.partition("=")[::2]])
        elif key == "volume-driver":
            volume.setdefault("DriverConfig", {})["Name"] = value
        elif key == "volume-opt":
            volume.setdefault("DriverConfig", {}).setdefault("Options", {}).update([value.partition("=")[::2]])
        elif key == "image-subpath":
            image["Subpath"] = value
        elif key == "tmpfs-size":
            tmpfs["SizeBytes"] = size(value, "mount")
        elif key == "tmpfs-mode":
            tmpfs["Mode"] = int(value, 8)
        elif not equals:
            raise _invalid(text, "mount", f"invalid field '{field}' must be a key=value pair")
        else:
            raise _invalid(text, "mount", f"unexpected key '{key}' in '{field}'")
    if "Target" not in mount:
        raise _invalid(text, "mount", "target is required")
    options = {"BindOptions": bind, "VolumeOptions": volume, "ImageOptions": image, "TmpfsOptions": tmpfs}
    return mount | {name: chosen for name, chosen in options.items() if chosen}


def _networks(options: Options) -> tuple[dict[str, Any], str]:
    """`--network`, with docker's `name=…,ip=…` syntax; return the endpoints and the network mode."""
    endpoints: dict[str, Any] = {}
    mode = ""
    for text in [*options.network, *options.net]:
        name, settings = _network(text)
        mode = mode or name
        built_in = name in ("host", "none", "bridge", "default") or name.startswith("container:")
        if built_in and not settings:
            continue
        endpoints[name] = settings
    if mode and not mode.startswith("container:") and mode not in ("host", "none"):
        first = endpoints.setdefault(mode, {})
        if options.network_alias or options.net_alias:
            first["Aliases"] = [*options.network_alias, *options.net_alias]
        if options.ip or options.ip6:
            first["IPAMConfig"] = {"IPv4Address": options.ip, "IPv6Address": options.ip6}
        if options.mac_address:
            first["MacAddress"] = options.mac_address
        if mode in ("bridge", "default") and not first:
            del endpoints[mode]
    elif options.ip:
        endpoints["default"] = {"IPAMConfig": {"IPv4Address": options.ip}}
    return endpoints, mode


def _network(text: str) -> tuple[str, dict[str, Any]]:
    if "=" not in text:
        return text, {}
    name = ""
    settings: dict[str, Any] = {}
    for field in text.split(","):
        key, _, value = field.partition("=")
        if key == "name":
            name = value
        elif key == "alias":
            settings.setdefault("Aliases", []).append(value)
        elif key == "ip":
            settings.setdefault("IPAMConfig", {})["IPv4Address"] = value
        elif key == "ip6":
            settings.setdefault("IPAMConfig", {})["IPv6Address"] = value
        elif key == "mac-address":
            settings["MacAddress"] = value
        elif key == "gw-priority":
            settings["GwPriority"] = int(value)
        elif key == "driver-opt":
            option, _, setting = value.partition("=")
            settings.setdefault("DriverOpts", {})[option] = setting
        else:
            raise _invalid(text, "network", f"invalid key {key} in {field}")
    if not name:
        raise _invalid(text, "network", "network name/id is not specified")
    return name, settings


def port_specs(publish: list[str], expose: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`-p` and `--expose`: the port bindings and the exposed ports. Raises CliError."""
    bindings: dict[str, Any] = {}
    exposed: dict[str, Any] = {}
    for text in expose:
        ports, _, protocol = text.partition("/")
        for port in _port_range(ports, text):
            exposed[f"{port}/{protocol or 'tcp'}"] = {}
    for text in publish:
        for key, binding in _publish(text):
            exposed[key] = {}
            bindings.setdefault(key, []).append(binding)
    return bindings, exposed


def _publish(text: str) -> list[tuple[str, dict[str, str]]]:
    address, host, container, protocol = _split_publish(text)
    container_ports = _port_range(container, text)
    if not host:
        return [(f"{port}/{protocol}", {"HostIp": address, "HostPort": ""}) for port in container_ports]
    host_ports = _port_range(host, text)
    if len(host_ports) != len(container_ports):
        if len(container_ports) == 1:
            return [(f"{container_ports[0]}/{protocol}", {"HostIp": address, "HostPort": host})]
        raise CliError(
            f'invalid argument "{text}" for "-p, --publish" flag: invalid ranges specified for container '
            f"and host Ports: {container} and {host}",
            125,
        )
    return [
        (f"{inner}/{protocol}", {"HostIp": address, "HostPort": str(outer)})
        for inner, outer in zip(container_ports, host_ports, strict=True)
    ]


def _split_publish(text: str) -> tuple[str, str, str, str]:
    if "=" in text:  # the long form: target=80,published=8080,protocol=tcp
        fields = dict(field.partition("=")[::2] for field in text.split(","))
        return "", fields.get("published", ""), fields.get("target", ""), fields.get("protocol", "tcp")
    rest, _, protocol = text.partition("/")
    head, _, container = rest.rpartition(":")
    address, host = "", head
    if head.startswith("["):
        address, _, host = head.partition("]")
        address, host = address[1:], host.removeprefix(":")
    elif ":" in head:
        address, _, host = head.rpartition(":")
    elif "." in head:
        address, host = head, ""
    return address, host, container, (protocol or "tcp").lower()


def _port_range(text: str, whole: str) -> list[int]:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise CliError(f'invalid argument "{whole}" for "-p, --publish" flag: invalid containerPort: {text}', 125)
    low, high = int(first), int(last or first)
    if not 0 < low <= high < 65536:
        raise CliError(f'invalid argument "{whole}" for "-p, --publish" flag: invalid containerPort: {text}', 125)
    return list(range(low, high + 1))
