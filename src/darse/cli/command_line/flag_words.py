"""The values of flags that have few: what completion offers behind them.

A key is a flag's name, or a command's path and the name where the flag means something else elsewhere. A value that
ends with `=`, `:` or `,` goes on.
"""

from __future__ import annotations

_CAPABILITIES = """
AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH
FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN
NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT
SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM
"""
_PLATFORMS = "linux/amd64 linux/arm/v7 linux/arm64 linux/ppc64le linux/riscv64 linux/s390x"
_LIMITS = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
_SIGNALS = "HUP INT KILL QUIT TERM USR1 USR2"
_BUILT = {
    "allow": "device network.host security.insecure",
    "attest": "type=provenance type=provenance,mode=max type=sbom",
    "cache-to": "type=inline type=local type=registry",
    "call": "build check outline targets",
    "network": "default host none",
    "output": "type=docker type=image type=local type=oci type=registry type=tar",
    "progress": "auto plain quiet rawjson tty",
    "provenance": "false mode=max mode=min true",
    "sbom": "false true",
    "ssh": "default",
}

WORDS = {
    "arch": "386 amd64 arm arm64 loong64 ppc64le riscv64 s390x",
    "attach": "stderr stdin stdout",
    "cap-add": f"ALL {_CAPABILITIES}",
    "cap-drop": f"ALL {_CAPABILITIES}",
    "cgroupns": "host private",
    "change": "CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR",
    "gpus": "all",
    "ipam-driver": "default null",
    "ipc": "container: host none private shareable",
    "isolation": "default",
    "log-driver": "fluentd gelf journald json-file local none splunk syslog",
    "log-level": "debug info warn error fatal",
    "mount": "type=bind, type=image, type=tmpfs, type=volume,",
    "os": "linux windows",
    "pid": "container: host",
    "platform": _PLATFORMS,
    "pull": "always missing never",
    "restart": "no always on-failure on-failure: unless-stopped",
    "scope": "local",
    "security-opt": "apparmor= label= no-new-privileges seccomp= systempaths=unconfined writable-cgroups=true",
    "signal": _SIGNALS,
    "stop-signal": _SIGNALS,
    "storage-opt": "size=",
    "tail": "all",
    "type": "container image network volume",
    "ulimit": " ".join(f"{name}=" for name in _LIMITS.split()),
    "userns": "host",
    "uts": "host",
    "variant": "v5 v6 v7 v8",
    **{f"{path} {name}": words for path in ("builder build", "image build") for name, words in _BUILT.items()},
    "compose build progress": "auto json plain quiet rawjson tty",
    "compose build provenance": "false mode=max mode=min true",
    "compose build sbom": "false",
    "compose build ssh": "default",
    "compose bridge transformations list format": "json table",
    "compose config format": "json yaml",
    "compose create pull": "always build missing never policy",
    "compose down rmi": "all local",
    **{f"compose {command} format": "json table" for command in ("images", "ls")},
    "compose explain format": "json text",
    "compose graph format": "svg text",
    "compose port protocol": "tcp udp",
    **{f"compose {command} pull": "always missing never policy" for command in ("run", "up")},
    "compose ps status": "created dead exited paused removing restarting running",
    "compose publish oci-version": "1.0 1.1",
    "compose pull policy": "always missing",
    "compose up attach": "",
    "compose version format": "json pretty",
    "compose volumes format": "json table",
    "explain last": "create start exec stop kill restart rm pull",
    "generate compose format": "json yaml",
    "network graph format": "svg text",
    "volume graph format": "svg text",
}


def words(path: str, name: str) -> list[str]:
    """The values of a flag of a command; none where it may have any."""
    return WORDS.get(f"{path} {name}", WORDS.get(name, "")).split()
