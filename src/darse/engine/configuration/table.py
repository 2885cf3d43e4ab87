"""The options of the engine, those of dockerd 28 and a few more: one row for the flag and the key of `daemon.json`."""

from __future__ import annotations

from typing import Any

import msgspec

from darse.engine.configuration import values as v


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
    #: The name that it had, as a flag and in the file; still accepted.
    former: str = ""

    @property
    def file_key(self) -> str:
        """The key in daemon.json."""
        return self.key or self.flag


def _harmless(flag: str, kind: str, key: str = "") -> Option:
    return Option(flag, kind, v.ignored, "Accepted for dockerd's sake, without effect", key)


def _absent(flag: str, kind: str, key: str = "", *, unless: Any = None) -> Option:
    return Option(flag, kind, v.refused(f"--{flag}", unless=unless), "Not supported yet", key)


OPTIONS = (
    Option("add-runtime", "pairs", v.runtimes, "Another OCI runtime: NAME=PATH", "runtimes"),
    Option("allow-plain-tcp", "flag", v.same("allow_plain_tcp"), "Serve tcp without TLS"),
    Option("bip", "text", v.interface("bip"), "Address and subnet of the default bridge, as 10.1.0.1/24"),
    Option("bip6", "text", v.interface("bip6", 6), "IPv6 address and subnet of the default bridge"),
    Option("bridge", "text", v.same("bridge"), "Default bridge's name, or none for no default bridge", short="b"),
    Option(
        "cgroup-favordynmods",
        "flag",
        v.same("cgroup_favordynmods"),
        "Switch the kernel to fast moves between control groups (favordynmods) while the engine runs (default true)",
        former="cgroup-favor-moves",
    ),
    Option("cgroup-parent", "text", v.same("cgroup_parent_option"), "Parent of containers' control groups"),
    Option("cpu-rt-period", "number", v.number("cpu_rt_period"), "Of containers' parent group: microseconds"),
    Option("cpu-rt-runtime", "number", v.number("cpu_rt_runtime"), "Real-time budget in a period: microseconds"),
    Option("data-root", "text", v.path("data_root"), "Where images, volumes and containers are kept"),
    Option("debug", "flag", v.same("debug"), "Log everything", short="D"),
    Option(
        "debug-loop-stalls",
        "number",
        v.number("debug_loop_stalls"),
        "Log the stack of whatever blocks the engine's event loop for that many milliseconds (default 0: do not)",
    ),
    Option("default-address-pool", "list", v.address_pools, "base=CIDR,size=N", "default-address-pools"),
    Option("default-cgroupns-mode", "text", v.choice("default_cgroupns_mode", "host", "private"), "Of containers"),
    Option("default-gateway", "text", v.address("default_gateway"), "The default bridge's containers' gateway"),
    Option("default-gateway-v6", "text", v.address("default_gateway_v6"), "The same, of IPv6"),
    Option("default-ipc-mode", "text", v.choice("default_ipc_mode", "private", "shareable"), "Of containers"),
    Option("default-runtime", "text", v.same("default_runtime"), "OCI runtime of containers that name none"),
    Option("default-shm-size", "text", v.size("default_shm_size"), "Size of containers' /dev/shm"),
    Option("cdi-spec-dir", "list", v.strings("cdi_spec_dirs"), "Descriptions of devices (CDI)", "cdi-spec-dirs"),
    Option("default-ulimit", "pairs", v.ulimits, "NAME=SOFT[:HARD] for every container", "default-ulimits"),
    Option("dns", "list", v.addresses("dns"), "Name server of containers"),
    Option("dns-opt", "list", v.strings("dns_options"), "Resolver option of containers", "dns-opts"),
    Option("dns-search", "list", v.strings("dns_search"), "Search domain of containers"),
    Option("exec-opt", "list", v.exec_options, "native.cgroupdriver=cgroupfs", "exec-opts"),
    Option("exec-root", "text", v.path("exec_root"), "Where the running state and the socket are kept"),
    Option("experimental", "flag", v.same("experimental"), "Let docker's client offer checkpoints"),
    Option("feature", "pairs", v.features, "NAME=true|false: `cdi`; others are shown only", "features"),
    Option("fixed-cidr", "text", v.network("fixed_cidr"), "The part of the bridge's subnet for containers"),
    Option("fixed-cidr-v6", "text", v.network("fixed_cidr_v6", 6), "The default bridge's IPv6 subnet"),
    Option("group", "text", v.same("group"), "Group of the socket; docker or darse where there is one", short="G"),
    Option("host", "list", v.strings("hosts"), "unix://PATH, tcp://ADDRESS:PORT or fd://", "hosts", "H"),
    Option("host-gateway-ip", "text", v.address("host_gateway_ip"), "What host-gateway in --add-host stands for"),
    Option("http-proxy", "text", v.same("http_proxy"), "Proxy of the engine's own HTTP requests"),
    Option("https-proxy", "text", v.same("https_proxy"), "Proxy of the engine's own HTTPS requests"),
    Option("icc", "flag", v.same("icc"), "Containers of the default bridge reach each other (default true)"),
    Option("init", "flag", v.same("init"), "Run an init as the first process of every container"),
    Option("init-path", "text", v.same("init_path"), "That init's path"),
    Option("insecure-registry", "list", v.insecure, "Registry that may be without TLS", "insecure-registries"),
    Option("ip", "text", v.address("ip"), "Host address of published ports"),
    Option("ip-forward", "flag", v.same("ip_forward"), "Switch on IPv4 forwarding (default true)"),
    Option("ip-masq", "flag", v.same("ip_masq"), "Masquerade what containers send outside (default true)"),
    Option("ipv6", "flag", v.same("ipv6"), "Have IPv6 on the default bridge"),
    Option("iptables", "flag", v.same("iptables"), "Manage the firewall, with nftables (default true)"),
    Option(
        "keep-layer-blobs",
        "flag",
        v.same("keep_layer_blobs"),
        "Keep layers' archives as they came, so that what is pushed or saved has the same digests",
    ),
    Option("label", "list", v.labels, "Label of the engine: KEY=VALUE", "labels"),
    Option("live-restore", "flag", v.same("live_restore"), "Containers outlive the engine (default true)"),
    Option("log-driver", "text", v.same("log_driver"), "For containers"),
    Option("log-format", "text", v.choice("log_format", "text", "json"), "text or json"),
    Option("log-level", "text", v.choice("log_level", "debug", "info", "warn", "error", "fatal"), "Detail", short="l"),
    Option("log-opt", "pairs", v.log_options, "For containers", "log-opts"),
    Option("max-concurrent-downloads", "number", v.number("max_concurrent_downloads"), "Layers of a pull at once"),
    Option("max-concurrent-uploads", "number", v.number("max_concurrent_uploads"), "Layers of a push at once"),
    Option("max-download-attempts", "number", v.number("max_download_attempts", least=1), "Tries of a layer"),
    Option("mtu", "number", v.number("mtu", least=68), "Largest packet of the default bridge"),
    Option("no-new-privileges", "flag", v.same("no_new_privileges"), "For every container"),
    Option("no-proxy", "text", v.same("no_proxy"), "Hosts to reach without the proxy"),
    Option("pidfile", "text", v.path("pidfile"), "File for the engine's process id", short="p"),
    Option("registry-certs", "text", v.directory("certs_dir"), "Directory of registries' certificates"),
    Option("registry-mirror", "list", v.mirrors, "Mirror of Docker Hub", "registry-mirrors"),
    Option("seccomp-profile", "text", v.seccomp, "Default profile's path, builtin or unconfined"),
    Option("shutdown-timeout", "number", v.number("shutdown_timeout", least=-1), "Seconds for containers to end"),
    Option(
        "storage-driver",
        "text",
        v.only("storage driver", "overlay2", "overlay", "overlayfs"),
        "How layers are stored: overlay2, the only one",
        short="s",
    ),
    Option("storage-opt", "list", v.storage_options, "Option of the storage driver", "storage-opts"),
    Option("tls", "flag", v.same("_tls"), "Serve tcp with TLS; --tls=false insists on plain tcp"),
    Option("tlscacert", "text", v.same("_tlscacert"), "Certificates that must have signed the clients'"),
    Option("tlscert", "text", v.same("_tlscert"), "The engine's certificate"),
    Option("tlskey", "text", v.same("_tlskey"), "The engine's key"),
    Option("tlsverify", "flag", v.same("_tlsverify"), "Serve tcp with TLS, for clients with certificates"),
    Option("userns-remap", "text", v.same("userns_remap"), "Containers run as default, USER, UID or USER:GROUP"),
    _absent("allow-direct-routing", "flag"),
    _absent("authorization-plugin", "list", "authorization-plugins"),
    _absent("bridge-accept-fwmark", "text"),
    _absent("default-network-opt", "pairs", "default-network-opts"),
    _absent("metrics-addr", "text"),
    _absent("rootless", "flag"),
    _absent("selinux-enabled", "flag"),
    _harmless("allow-nondistributable-artifacts", "list", "allow-nondistributable-artifacts"),
    _harmless("containerd", "text"),
    _harmless("containerd-namespace", "text"),
    _harmless("containerd-plugins-namespace", "text", "containerd-plugin-namespace"),
    _harmless("cri-containerd", "flag"),
    _harmless("ip-forward-no-drop", "flag"),
    _harmless("ip6tables", "flag"),
    _harmless("network-control-plane-mtu", "number"),
    _harmless("node-generic-resource", "list", "node-generic-resources"),
    _harmless("oom-score-adjust", "number"),
    _harmless("raw-logs", "flag"),
    _harmless("swarm-default-advertise-addr", "text"),
    _harmless("userland-proxy", "flag"),
    _harmless("userland-proxy-path", "text"),
    Option("", "object", v.ignored, "", "builder"),
    Option("", "object", v.proxies, "", "proxies"),
)  # fmt: skip
BY_KEY = {option.file_key: option for option in OPTIONS}
BY_FLAG = {option.flag: option for option in OPTIONS if option.flag}
#: The keys of options by the names that they had.
FORMER = {option.former: option.file_key for option in OPTIONS if option.former}
BY_SHORT = {option.short: option for option in OPTIONS if option.short}
