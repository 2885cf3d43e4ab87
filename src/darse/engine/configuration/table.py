"""The options of the engine, those of dockerd 28 and a few more: one row for the flag and the key of `daemon.json`."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from darse.core.config import RELOADABLE
from darse.engine.configuration import values as v

_DEFAULT = re.compile(r" \(default:? ([^()]*)\)")
_VALUES = {"flag": "", "number": "int", "text": "string", "list": "list", "pairs": "map", "object": ""}


class Option(msgspec.Struct, frozen=True):
    """One option.

    `kind` is `text`, `flag`, `number`, `list`, `pairs` (NAME=VALUE, an object in the file) or `object` (in the file
    only); `key` its name in the file where that differs.
    """

    flag: str
    kind: str
    read: v.Reader
    help: str
    key: str = ""
    short: str = ""
    #: What `--help` calls its value, where its kind says less.
    value: str = ""
    #: The name that it had, as a flag and in the file; still accepted.
    former: str = ""

    @property
    def file_key(self) -> str:
        """The key in daemon.json."""
        return self.key or self.flag

    @property
    def is_reloaded(self) -> bool:
        """Whether SIGHUP takes over another value."""
        return self.file_key.replace("-", "_") in RELOADABLE

    @property
    def default(self) -> str:
        """What holds where it is not given, as its help has it; "none" for what is a list, say."""
        found = _DEFAULT.search(self.help)
        return found[1].removeprefix(": ") if found else "false" if self.kind == "flag" else "none"

    @property
    def meaning(self) -> str:
        """Its help without the default."""
        return _DEFAULT.sub("", self.help)

    @property
    def shown_value(self) -> str:
        """What `--help` calls its value; empty for a flag without one."""
        return self.value or _VALUES[self.kind]


def _harmless(flag: str, kind: str, text: str, key: str = "") -> Option:
    """An option that dockerd has and that means nothing here."""
    return Option(flag, kind, v.ignored, f"{text} (accepted, without effect)", key)


def _absent(flag: str, kind: str, text: str, key: str = "", *, unless: Any = None) -> Option:
    """An option that dockerd has and that is refused."""
    return Option(flag, kind, v.refused(f"--{flag}", unless=unless), f"{text} (not supported yet)", key)


OPTIONS = (
    Option(
        "add-runtime", "pairs", v.runtimes, "Register an additional OCI runtime: NAME=PATH", "runtimes", value="runtime"
    ),
    Option("allow-plain-tcp", "flag", v.same("allow_plain_tcp"), "Serve tcp without TLS"),
    Option("audit-log", "text", v.path("audit_log"), "Record requests that change something in this file"),
    Option(
        "audit-log-max-file",
        "number",
        v.number("audit_log_max_file", least=1),
        "Files of the audit log that are kept, with the open one (default 5)",
    ),
    Option(
        "audit-log-max-size",
        "text",
        v.size("audit_log_max_size"),
        'Size at which a new file of the audit log is begun (default "10m")',
        value="bytes",
    ),
    Option(
        "authorization-plugin",
        "list",
        v.strings("authorization_plugins"),
        "Authorization plugin to ask about every request and answer",
        "authorization-plugins",
    ),
    Option("bip", "text", v.interface("bip"), "Address and subnet of the default bridge, as 10.1.0.1/24"),
    Option("bip6", "text", v.interface("bip6", 6), "IPv6 address and subnet of the default bridge, as fd00:1::1/64"),
    Option(
        "bridge",
        "text",
        v.same("bridge"),
        "Attach containers to this network bridge; none: no default bridge",
        short="b",
    ),
    Option(
        "cgroup-favordynmods",
        "flag",
        v.same("cgroup_favordynmods"),
        "Switch the kernel to fast moves between control groups (favordynmods) while the engine runs (default true)",
        former="cgroup-favor-moves",
    ),
    Option("cgroup-parent", "text", v.same("cgroup_parent_option"), "Parent cgroup of all containers"),
    Option(
        "cpu-rt-period",
        "number",
        v.number("cpu_rt_period"),
        "Real-time period of the parent cgroup of all containers, in microseconds",
    ),
    Option(
        "cpu-rt-runtime",
        "number",
        v.number("cpu_rt_runtime"),
        "Real-time runtime of the parent cgroup of all containers, in microseconds",
    ),
    Option(
        "data-root",
        "text",
        v.path("data_root"),
        'Root directory of persistent state: images, volumes, containers (default "/var/lib/darse")',
    ),
    Option("debug", "flag", v.same("debug"), "Enable debug mode", short="D"),
    Option(
        "debug-loop-stalls",
        "number",
        v.number("debug_loop_stalls"),
        "Log the stack of whatever blocks the engine's event loop for that many milliseconds (default 0: do not)",
    ),
    Option(
        "default-address-pool",
        "list",
        v.address_pools,
        "Address pools for networks without a subnet: base=CIDR,size=N",
        "default-address-pools",
        value="pool-options",
    ),
    Option(
        "default-cgroupns-mode",
        "text",
        v.choice("default_cgroupns_mode", "host", "private"),
        'Cgroup namespace of containers: "host" or "private" (default "private" on cgroup v2, else "host")',
    ),
    Option(
        "default-gateway",
        "text",
        v.address("default_gateway"),
        "IPv4 gateway of containers on the default bridge",
        value="ip",
    ),
    Option(
        "default-gateway-v6",
        "text",
        v.address("default_gateway_v6"),
        "IPv6 gateway of containers on the default bridge",
        value="ip",
    ),
    Option(
        "default-ipc-mode",
        "text",
        v.choice("default_ipc_mode", "private", "shareable"),
        'IPC mode of containers: "shareable" or "private" (default "private")',
    ),
    Option(
        "default-runtime",
        "text",
        v.same("default_runtime"),
        'OCI runtime of containers that name none (default "crun")',
    ),
    Option(
        "default-shm-size",
        "text",
        v.size("default_shm_size"),
        "Size of containers' /dev/shm (default 64MiB)",
        value="bytes",
    ),
    Option(
        "cdi-spec-dir",
        "list",
        v.strings("cdi_spec_dirs"),
        "Directory of CDI specifications of devices (default /etc/cdi, /var/run/cdi)",
        "cdi-spec-dirs",
    ),
    Option(
        "default-ulimit",
        "pairs",
        v.ulimits,
        "Default ulimits of containers: NAME=SOFT[:HARD]",
        "default-ulimits",
        value="ulimit",
    ),
    Option("dns", "list", v.addresses("dns"), "DNS server of containers"),
    Option("dns-opt", "list", v.strings("dns_options"), "DNS options of containers", "dns-opts"),
    Option("dns-search", "list", v.strings("dns_search"), "DNS search domains of containers"),
    Option("exec-opt", "list", v.exec_options, "Runtime execution options: native.cgroupdriver=cgroupfs", "exec-opts"),
    Option(
        "exec-root",
        "text",
        v.path("exec_root"),
        'Root directory of execution state, and of the socket (default "/run/darse")',
    ),
    Option(
        "experimental",
        "flag",
        v.same("experimental"),
        "Enable experimental features: docker's client offers checkpoints",
    ),
    Option(
        "feature",
        "pairs",
        v.features,
        "Enable or disable a feature, as cdi=true; others than cdi are shown only",
        "features",
    ),
    Option(
        "fixed-cidr",
        "text",
        v.network("fixed_cidr"),
        "IPv4 subnet of the default bridge that containers get addresses from",
    ),
    Option("fixed-cidr-v6", "text", v.network("fixed_cidr_v6", 6), "IPv6 subnet of the default bridge"),
    Option(
        "group",
        "text",
        v.same("group"),
        "Group of the unix socket (default docker, else darse, where there is one)",
        short="G",
    ),
    Option(
        "host",
        "list",
        v.strings("hosts"),
        "Sockets to listen on: unix://PATH, tcp://ADDRESS:PORT or fd:// (default unix://EXEC-ROOT/darse.sock)",
        "hosts",
        "H",
    ),
    Option(
        "host-gateway-ip",
        "text",
        v.address("host_gateway_ip"),
        "IP address that host-gateway in --add-host resolves to (default: that of the default bridge)",
        value="ip",
    ),
    Option("http-proxy", "text", v.same("http_proxy"), "Proxy for outgoing HTTP of the engine"),
    Option("https-proxy", "text", v.same("https_proxy"), "Proxy for outgoing HTTPS of the engine"),
    Option(
        "icc", "flag", v.same("icc"), "Enable communication between containers of the default bridge (default true)"
    ),
    Option("init", "flag", v.same("init"), "Run an init in each container that forwards signals and reaps processes"),
    Option("init-path", "text", v.same("init_path"), "Path of the init binary"),
    Option(
        "insecure-registry",
        "list",
        v.insecure,
        "Registry that may be reached without TLS, or with a certificate that cannot be verified",
        "insecure-registries",
    ),
    Option("ip", "text", v.address("ip"), "Host IP of published ports that name none (default 0.0.0.0)", value="ip"),
    Option("ip-forward", "flag", v.same("ip_forward"), "Enable net.ipv4.ip_forward (default true)"),
    Option("ip-masq", "flag", v.same("ip_masq"), "Enable IP masquerading (default true)"),
    Option("ipv6", "flag", v.same("ipv6"), "Enable IPv6 on the default bridge"),
    Option("iptables", "flag", v.same("iptables"), "Manage firewall rules, with nftables (default true)"),
    Option(
        "keep-layer-blobs",
        "flag",
        v.same("keep_layer_blobs"),
        "Keep layers' archives as they came, so that what is pushed or saved has the same digests",
    ),
    Option("label", "list", v.labels, "Labels of the engine: KEY=VALUE", "labels"),
    Option(
        "live-restore",
        "flag",
        v.same("live_restore"),
        "Keep containers running while the engine does not (default true)",
    ),
    Option("log-driver", "text", v.same("log_driver"), 'Default log driver of containers (default "json-file")'),
    Option(
        "log-format",
        "text",
        v.choice("log_format", "text", "json"),
        'Format of the engine\'s log: "text" or "json" (default "text")',
    ),
    Option(
        "log-level",
        "text",
        v.choice("log_level", "debug", "info", "warn", "error", "fatal"),
        'Level of the engine\'s log: "debug", "info", "warn", "error" or "fatal" (default "info")',
        short="l",
    ),
    Option("log-opt", "pairs", v.log_options, "Default log driver options of containers", "log-opts"),
    Option(
        "max-concurrent-downloads",
        "number",
        v.number("max_concurrent_downloads"),
        "Layers that a pull downloads at once (default 3)",
    ),
    Option(
        "max-concurrent-uploads",
        "number",
        v.number("max_concurrent_uploads"),
        "Layers that a push uploads at once (default 5)",
    ),
    Option(
        "max-download-attempts",
        "number",
        v.number("max_download_attempts", least=1),
        "Attempts to download a layer (default 5)",
    ),
    Option(
        "metrics-addr",
        "text",
        v.tcp_address("metrics_addr"),
        "Address and port to serve metrics on, as 127.0.0.1:9323 (default: none are taken)",
    ),
    Option("mtu", "number", v.number("mtu", least=68, most=65535), "MTU of the default bridge (default 1500)"),
    Option(
        "no-new-privileges", "flag", v.same("no_new_privileges"), "Set no-new-privileges for new containers by default"
    ),
    Option("no-proxy", "text", v.same("no_proxy"), "Hosts and networks to reach without a proxy"),
    Option(
        "otlp-endpoint",
        "text",
        v.url("otlp_endpoint"),
        "Receiver of traces by OTLP over HTTP, as http://127.0.0.1:4318 (default $OTEL_EXPORTER_OTLP_ENDPOINT)",
        value="url",
    ),
    Option(
        "otlp-header",
        "pairs",
        v.pairs("otlp_headers"),
        "Header that goes with the traces: NAME=VALUE (default $OTEL_EXPORTER_OTLP_HEADERS)",
        "otlp-headers",
    ),
    Option("pidfile", "text", v.path("pidfile"), "Path of the engine's PID file", short="p"),
    Option(
        "registry-certs",
        "text",
        v.directory("certs_dir"),
        "Directory of registries' certificates, one directory each (default /etc/darse/certs.d, /etc/docker/certs.d)",
    ),
    Option("registry-mirror", "list", v.mirrors, "Preferred mirror of Docker Hub", "registry-mirrors"),
    Option(
        "seccomp-profile",
        "text",
        v.seccomp,
        'Path of the default seccomp profile, "builtin" or "unconfined" (default "builtin")',
    ),
    Option(
        "shutdown-timeout",
        "number",
        v.number("shutdown_timeout", least=-1),
        "Seconds that containers get to stop when the engine stops them; -1: no limit (default 15)",
    ),
    Option(
        "storage-driver",
        "text",
        v.only("storage driver", "overlay2", "overlay", "overlayfs"),
        "How layers are stored: overlay2, the only one",
        short="s",
    ),
    Option("storage-opt", "list", v.storage_options, "Storage driver options", "storage-opts"),
    Option("tls", "flag", v.same("_tls"), "Use TLS on tcp; implied by --tlsverify; --tls=false insists on plain tcp"),
    Option(
        "tlscacert",
        "text",
        v.same("_tlscacert"),
        "Trust only client certificates that this CA has signed (default /etc/darse/ca.pem)",
    ),
    Option("tlscert", "text", v.same("_tlscert"), "Path of the TLS certificate (default /etc/darse/cert.pem)"),
    Option("tlskey", "text", v.same("_tlskey"), "Path of the TLS key (default /etc/darse/key.pem)"),
    Option("tlsverify", "flag", v.same("_tlsverify"), "Use TLS on tcp, and verify clients"),
    Option(
        "userland-proxy",
        "flag",
        v.same("userland_proxy"),
        "Lead ports at the host's IPv6 addresses to containers with IPv4 only, by a process (default true)",
    ),
    Option(
        "userns-remap",
        "text",
        v.same("userns_remap"),
        "Map containers' users to others: default, USER, UID or USER:GROUP",
    ),
    Option(
        "zipkin-endpoint",
        "text",
        v.url("zipkin_endpoint"),
        "Receiver of traces in Zipkin's format, as http://127.0.0.1:9411/api/v2/spans",
        value="url",
    ),
    _absent("allow-direct-routing", "flag", "Let other hosts reach published ports at containers' own addresses"),
    _absent("bridge-accept-fwmark", "text", "Mark of packets that are accepted for bridge networks"),
    _absent("default-network-opt", "pairs", "Default options of networks", "default-network-opts"),
    _absent("rootless", "flag", "Run without root"),
    _absent("selinux-enabled", "flag", "Enable SELinux support"),
    _harmless(
        "allow-nondistributable-artifacts",
        "list",
        "Registries to push nondistributable artifacts to",
        "allow-nondistributable-artifacts",
    ),
    _harmless("containerd", "text", "Address of containerd"),
    _harmless("containerd-namespace", "text", "Namespace of containers in containerd"),
    _harmless(
        "containerd-plugins-namespace", "text", "Namespace of plugins in containerd", "containerd-plugin-namespace"
    ),
    _harmless("cri-containerd", "flag", "Start containerd with CRI"),
    _harmless("ip-forward-no-drop", "flag", "Leave the FORWARD chain's policy as it is"),
    _harmless("ip6tables", "flag", "Manage firewall rules of IPv6"),
    _harmless("network-control-plane-mtu", "number", "MTU of the network control plane"),
    _harmless("node-generic-resource", "list", "Resources that a node advertises", "node-generic-resources"),
    _harmless("oom-score-adjust", "number", "OOM score adjustment of the engine"),
    _harmless("raw-logs", "flag", "Log full timestamps, without colours"),
    _harmless("swarm-default-advertise-addr", "text", "Address or interface that a swarm advertises"),
    _harmless("userland-proxy-path", "text", "Path of the proxy's binary"),
    Option("", "object", v.same("alerts"), "Rules over the engine's own metrics, and who hears of them", "alerts"),
    Option(
        "", "object", v.ignored, "Garbage collection and entitlements of builds (accepted, without effect)", "builder"
    ),
    Option("", "object", v.proxies, "Proxies of the engine: http-proxy, https-proxy and no-proxy", "proxies"),
)
BY_KEY = {option.file_key: option for option in OPTIONS}
BY_FLAG = {option.flag: option for option in OPTIONS if option.flag}
#: The keys of options by the names that they had.
FORMER = {option.former: option.file_key for option in OPTIONS if option.former}
BY_SHORT = {option.short: option for option in OPTIONS if option.short}
