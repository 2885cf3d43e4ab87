"""The body of `POST /containers/create`, from the flags that `run` and `create` share."""

from __future__ import annotations

from darse.cli.command_line.flags import Options
from darse.cli.creating.devices import device, device_requests, is_named_device, rates, rules, weights
from darse.cli.creating.environment import environment, labels, with_proxies
from darse.cli.creating.limits import limits, restart_policy, swappiness, ulimit
from darse.cli.creating.names import names
from darse.cli.creating.networks import endpoints_and_mode
from darse.cli.creating.security import isolation
from darse.cli.creating.values import duration, pairs, size
from darse.cli.errors import CliError, InvalidArgument
from darse.cli.settings.config import Settings
from darse.mount_specs import InvalidMount, parse_mount, volumes_and_binds
from darse.port_specs import InvalidPort, parse_ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from darse.client.documents.containers import CreateRequestDocument, HealthConfigDocument
    from darse.client.documents.host_config import HostConfigDocument, LogConfigDocument, MountDocument


def create_body(options: Options, arguments: list[str], settings: Settings) -> CreateRequestDocument:
    """The whole request; `settings` have containers' proxies. Raises CliError for what docker's own client refuses."""
    image, *command = arguments
    attached = {stream.lower() for stream in options.attach}
    if attached - {"stdin", "stdout", "stderr"}:
        wrong = next(stream for stream in options.attach if stream.lower() not in ("stdin", "stdout", "stderr"))
        raise InvalidArgument(wrong, "attach", "valid streams are STDIN, STDOUT and STDERR")
    detached = getattr(options, "detach", False)
    if not attached and not detached:
        attached = {"stdout", "stderr"} | ({"stdin"} if options.interactive else set())
    entrypoint: list[str] | None = None
    if "entrypoint" in options.given:
        entrypoint = [options.entrypoint]
    body: CreateRequestDocument = {
        "Hostname": options.hostname,
        "Domainname": options.domainname,
        "User": options.user,
        "AttachStdin": "stdin" in attached,
        "AttachStdout": "stdout" in attached,
        "AttachStderr": "stderr" in attached,
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": options.interactive and not detached,
        "Env": environment(with_proxies(options.env, settings), options.env_file),
        "Cmd": command or None,
        "Image": image,
        "WorkingDir": options.workdir,
        "Entrypoint": entrypoint,
        "Labels": labels(options.label, options.label_file),
        "StopSignal": options.stop_signal,
        "Healthcheck": _health(options),
    }
    if "stop-timeout" in options.given:
        body["StopTimeout"] = options.stop_timeout
    if options.rm and options.restart not in ("", "no"):
        raise CliError("conflicting options: cannot specify both --restart and --rm", 125)
    try:
        ports, exposed = parse_ports(options.publish, options.expose)
        volumes, binds = volumes_and_binds(options.volume)
    except (InvalidPort, InvalidMount) as error:
        raise CliError(str(error), 125) from None
    body["ExposedPorts"] = exposed
    body["Volumes"] = volumes
    networks, mode = endpoints_and_mode(options)
    body["HostConfig"] = _host(options, binds, ports, mode)
    body["NetworkingConfig"] = {"EndpointsConfig": networks}
    return body


def _host(options: Options, binds: list[str], ports: dict[str, Any], mode: str) -> HostConfigDocument:
    host: HostConfigDocument = {
        **limits(options),
        **isolation(options),
        **names(options),
        "Binds": binds or None,
        "ContainerIDFile": options.cidfile,
        "LogConfig": _logging(options),
        "NetworkMode": mode or "default",
        "PortBindings": ports,
        "RestartPolicy": restart_policy(options.restart),
        "AutoRemove": getattr(options, "rm", False),
        "VolumeDriver": options.volume_driver,
        "VolumesFrom": options.volumes_from or None,
        "Mounts": [_mount(text) for text in options.mount] or None,
        "GroupAdd": options.group_add or None,
        "OomScoreAdj": options.oom_score_adj or 0,
        "PublishAllPorts": options.publish_all,
        "StorageOpt": _storage_options(options.storage_opt) or None,
        "Tmpfs": dict(text.partition(":")[::2] for text in options.tmpfs) or None,
        "ShmSize": size(options.shm_size, "shm-size") if options.shm_size else 0,
        "Runtime": options.runtime,
        "Isolation": options.isolation,
        "CgroupParent": options.cgroup_parent,
        "Devices": [device(text) for text in options.device if not is_named_device(text)],
        "DeviceCgroupRules": rules(options.device_cgroup_rule) or None,
        "DeviceRequests": device_requests(options),
        "MemorySwappiness": swappiness(options.memory_swappiness),
        "OomKillDisable": options.oom_kill_disable or None,
        "Ulimits": [ulimit(text) for text in options.ulimit] or None,
        "BlkioWeightDevice": weights(options),
        "BlkioDeviceReadBps": rates(options, "device-read-bps"),
        "BlkioDeviceWriteBps": rates(options, "device-write-bps"),
        "BlkioDeviceReadIOps": rates(options, "device-read-iops"),
        "BlkioDeviceWriteIOps": rates(options, "device-write-iops"),
        "Annotations": pairs(options.annotation) or None,
    }
    if "init" in options.given:
        host["Init"] = options.init
    return host


def _mount(text: str) -> MountDocument:
    try:
        mount: Any = parse_mount(text)
    except InvalidMount as error:
        raise InvalidArgument(text, "mount", str(error)) from None
    return mount  # type: ignore[no-any-return]


def _logging(options: Options) -> LogConfigDocument:
    if options.log_driver == "none" and options.log_opt:
        raise CliError("invalid logging opts for driver none", 125)
    return {"Type": options.log_driver, "Config": pairs(options.log_opt)}


def _storage_options(entries: list[str]) -> dict[str, str]:
    if not all("=" in entry for entry in entries):
        raise CliError("invalid storage option", 125)
    return pairs(entries)


def _health(options: Options) -> HealthConfigDocument | None:
    flags = ("health-interval", "health-timeout", "health-start-period", "health-start-interval")
    interval, timeout, period, start = times = [
        duration(getattr(options, flag.replace("-", "_")), flag) for flag in flags
    ]
    has_options = options.health_cmd or options.health_retries or any(times)
    if options.no_healthcheck:
        if has_options:
            raise CliError("--no-healthcheck conflicts with --health-* options", 125)
        return {"Test": ["NONE"]}
    if not has_options:
        return None
    for flag, value in [*zip(flags, times, strict=True), ("health-retries", options.health_retries or 0)]:
        if value < 0:
            raise CliError(f"--{flag} cannot be negative", 125)
    return {
        "Test": ["CMD-SHELL", options.health_cmd] if options.health_cmd else None,
        "Interval": interval,
        "Timeout": timeout,
        "StartPeriod": period,
        "StartInterval": start,
        "Retries": options.health_retries or 0,
    }
