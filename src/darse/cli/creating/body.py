"""The whole create request."""

from __future__ import annotations

import json
from typing import Any

from darse.cli.creating.devices import device, device_requests, is_named_device, rate, weight
from darse.cli.creating.environment import environment, labels
from darse.cli.creating.limits import limits, restart_policy, ulimit
from darse.cli.creating.mounts import mount_spec, volumes_and_binds
from darse.cli.creating.networks import endpoints_and_mode
from darse.cli.creating.ports import port_specs
from darse.cli.creating.values import duration, pairs, size
from darse.cli.errors import CliError
from darse.cli.flags import Options


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
    volumes, binds = volumes_and_binds(options.volume)
    body["Volumes"] = volumes
    networks, mode = endpoints_and_mode(options)
    body["HostConfig"] = _host(options, binds, ports, mode)
    body["NetworkingConfig"] = {"EndpointsConfig": networks}
    return body


def _host(options: Options, binds: list[str], ports: dict[str, Any], mode: str) -> dict[str, Any]:
    host: dict[str, Any] = {
        **limits(options),
        "Binds": binds or None,
        "ContainerIDFile": options.cidfile,
        "LogConfig": {"Type": options.log_driver, "Config": pairs(options.log_opt, "log-opt")},
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
        "StorageOpt": pairs(options.storage_opt, "storage-opt") or None,
        "Tmpfs": dict(text.partition(":")[::2] for text in options.tmpfs) or None,
        "UTSMode": options.uts,
        "UsernsMode": options.userns,
        "ShmSize": size(options.shm_size, "shm-size") if options.shm_size else 0,
        "Sysctls": pairs(options.sysctl, "sysctl") or None,
        "Runtime": options.runtime,
        "Isolation": options.isolation,
        "CgroupParent": options.cgroup_parent,
        "Devices": [device(text) for text in options.device if not is_named_device(text)],
        "DeviceCgroupRules": options.device_cgroup_rule or None,
        "DeviceRequests": device_requests(options),
        "MemorySwappiness": options.memory_swappiness,
        "OomKillDisable": options.oom_kill_disable or None,
        "Ulimits": [ulimit(text) for text in options.ulimit] or None,
        "BlkioWeightDevice": [weight(text) for text in options.blkio_weight_device],
        "BlkioDeviceReadBps": [rate(text) for text in options.device_read_bps],
        "BlkioDeviceWriteBps": [rate(text) for text in options.device_write_bps],
        "BlkioDeviceReadIOps": [rate(text) for text in options.device_read_iops],
        "BlkioDeviceWriteIOps": [rate(text) for text in options.device_write_iops],
        "Annotations": pairs(options.annotation, "annotation") or None,
    }
    if "init" in options.given:
        host["Init"] = options.init
    return host


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


def _extra_host(text: str) -> str:
    name, separator, address = text.partition("=") if "=" in text else text.partition(":")
    if not separator or not name or not address:
        raise CliError(f'invalid argument "{text}" for "--add-host" flag: bad format for add-host: "{text}"', 125)
    return f"{name}:{address.strip('[]')}"
