"""The engine's configuration: what the flags and `daemon.json` come down to.

Both are read in `darse.engine.configuration.command_line`; here is the result, frozen, with the names that others
derive from it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

DEFAULT_DATA_ROOT = Path("/var/lib/darse")
DEFAULT_EXEC_ROOT = Path("/run/darse")


class AddressPool(msgspec.Struct, frozen=True):
    """A range that networks are cut from: its base, and the prefix length of each network."""

    base: str
    size: int


class TLS(msgspec.Struct, frozen=True):
    """Transport security of tcp listeners; `verify` demands client certificates signed by `ca`."""

    certificate: Path
    key: Path
    ca: Path | None = None
    verify: bool = False


# What SIGHUP re-reads; the rest needs a restart.
RELOADABLE = (
    "debug",
    "labels",
    "live_restore",
    "shutdown_timeout",
    "registry_mirrors",
    "insecure_registries",
    "max_concurrent_downloads",
    "max_concurrent_uploads",
    "max_download_attempts",
    "features",
    "authorization_plugins",
    "default_runtime",
    "runtimes",
    "runtime_arguments",
    "alerts",
)


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes are bytes, times seconds. Only `reload` changes it."""

    data_root: Path = DEFAULT_DATA_ROOT
    exec_root: Path = DEFAULT_EXEC_ROOT
    hosts: tuple[str, ...] = ()
    group: str = ""
    pidfile: Path | None = None
    debug: bool = False
    # Milliseconds; 0 reports none.
    debug_loop_stalls: int = 0
    log_level: str = "info"
    log_format: str = "text"
    experimental: bool = False
    keep_layer_blobs: bool = False
    features: dict[str, bool] = {}
    labels: tuple[str, ...] = ()
    tls: TLS | None = None
    authorization_plugins: tuple[str, ...] = ()
    allow_plain_tcp: bool = False
    #: Where metrics are served, as ADDRESS:PORT; empty: nowhere.
    metrics_addr: str = ""
    #: Where spans go: the URL of OTLP/HTTP's `/v1/traces`, and headers that go with them; the URL of Zipkin's spans.
    otlp_endpoint: str = ""
    otlp_headers: dict[str, str] = {}
    zipkin_endpoint: str = ""
    #: The rules and receivers of alerts, as `darse.observing.alerts.configuration` reads them.
    alerts: dict[str, Any] = {}
    audit_log: Path | None = None
    audit_log_max_size: int = 10 * 1024 * 1024
    audit_log_max_file: int = 5

    live_restore: bool = True
    shutdown_timeout: int = 15
    default_runtime: str = "crun"
    runtimes: dict[str, str] = {}
    runtime_arguments: dict[str, tuple[str, ...]] = {}
    init: bool = False
    init_path: str = ""
    default_shm_size: int = 64 * 1024 * 1024
    default_ulimits: dict[str, tuple[int, int]] = {}
    default_cgroupns_mode: str = ""
    default_ipc_mode: str = "private"
    cgroup_parent_option: str = ""
    # Microseconds of real-time scheduling that containers share, and in how many; 0 leaves the kernel's.
    cpu_rt_runtime: int = 0
    cpu_rt_period: int = 0
    cdi_spec_dirs: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")
    seccomp_profile: str = ""
    cgroup_favordynmods: bool = True
    no_new_privileges: bool = False
    userns_remap: str = ""
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}

    bridge: str = ""
    bip: str = ""
    fixed_cidr: str = ""
    default_gateway: str = ""
    # Of the default bridge.
    ipv6: bool = False
    bip6: str = ""
    fixed_cidr_v6: str = ""
    default_gateway_v6: str = ""
    default_address_pools: tuple[AddressPool, ...] = (
        AddressPool("172.17.0.0/16", 16),
        AddressPool("172.18.0.0/15", 16),
        AddressPool("172.20.0.0/14", 16),
        AddressPool("172.24.0.0/13", 16),
        AddressPool("192.168.0.0/16", 20),
    )
    mtu: int = 1500
    icc: bool = True
    ip: str = "0.0.0.0"  # noqa: S104 - docker's default for published ports
    ip_forward: bool = True
    ip_masq: bool = True
    iptables: bool = True
    userland_proxy: bool = True
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    host_gateway_ip: str = ""

    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    certs_dir: str = ""
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""

    def make_roots(self) -> None:
        """Make the roots where they are missing. Raises OSError.

        Nobody but root has business among the data; the exec root is passed through on the way to the socket.
        """
        for directory, mode in ((self.data_root, 0o710), (self.exec_root, 0o711)):
            directory.mkdir(mode=mode, parents=True, exist_ok=True)

    @property
    def instance(self) -> str:
        """Tells the engines of one machine apart: empty for the default exec root, else eight digits of its hash."""
        if self.exec_root == DEFAULT_EXEC_ROOT:
            return ""
        return hashlib.sha256(str(self.exec_root).encode()).hexdigest()[:8]

    @property
    def cgroup_parent(self) -> str:
        """The cgroup under which containers get theirs."""
        if self.cgroup_parent_option:
            return self.cgroup_parent_option
        return f"/darse_{self.instance}" if self.instance else "/darse"

    @property
    def cdi_directories(self) -> tuple[str, ...]:
        """Where descriptions of devices are; none with the feature `cdi` switched off."""
        return self.cdi_spec_dirs if self.features.get("cdi", True) else ()

    @property
    def bridge_name(self) -> str:
        """The default bridge's link."""
        return self.bridge or (f"dz{self.instance}" if self.instance else "darse0")

    @property
    def nft_table(self) -> str:
        """The engine's nftables table."""
        return f"darse_{self.instance}" if self.instance else "darse"

    @property
    def is_observed(self) -> bool:
        """Whether there are metrics, traces or alerts."""
        return bool(self.metrics_addr or self.otlp_endpoint or self.zipkin_endpoint or self.alerts)

    @property
    def default_socket(self) -> str:
        """Where the engine listens when no host is given."""
        return f"unix://{self.exec_root}/darse.sock"

    def reloadable(self) -> dict[str, Any]:
        """The settings that `reload` takes over, by name."""
        return {name: getattr(self, name) for name in RELOADABLE}

    def reload(self, newer: EngineConfig) -> dict[str, Any]:
        """Take over the reloadable settings of `newer`; return those that changed.

        Every service holds this object, so it changes in place, between two turns of the event loop.
        """
        changed = {}
        for name, value in newer.reloadable().items():
            if value != getattr(self, name):
                msgspec.structs.force_setattr(self, name, value)
                changed[name] = value
        return changed
