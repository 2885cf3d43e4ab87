"""What is known of the API's objects: the fields of each type, in the order of docker's JSON (Docker Engine API v1.51).

`inspect`, `info`, `version` and `events` show templates these types: `.ID` is the member `Id`, a member that is left
out has the zero of its type, a struct prints as its values. What few look into is `any`, the JSON as it is.

A field is written `name:type`, without a type when it is a string; `name=member` is called otherwise in JSON, `?` says
that JSON leaves out its zero, `+type` stands for all fields of another struct. `[]` is a list of strings, `{}` a map of
strings; other types are written as in Go.
"""

# ruff: noqa: N802 - methods are named as templates call them

from __future__ import annotations

from typing import Any

from darse.cli.templates.values import Field, List, Map, Nil, Struct, of_json
from darse.durations import go_duration, go_time

_TYPES = {
    "container.InspectResponse": """ID=Id Created Path Args:[] State:*container.State Image ResolvConfPath HostnamePath
        HostsPath LogPath Name RestartCount:int Driver Platform MountLabel ProcessLabel AppArmorProfile ExecIDs:[]
        HostConfig:*container.HostConfig GraphDriver:storage.DriverData SizeRw?:*int SizeRootFs?:*int
        Mounts:[]container.MountPoint Config:*container.Config NetworkSettings:*container.NetworkSettings
        ImageManifestDescriptor?:*v1.Descriptor""",
    "container.State": """Status Running:bool Paused:bool Restarting:bool OOMKilled:bool Dead:bool Pid:int ExitCode:int
        Error StartedAt FinishedAt Health?:*container.Health""",
    "container.Health": "Status FailingStreak:int Log:[]*container.HealthcheckResult",
    "container.HealthcheckResult": "Start:time.Time End:time.Time ExitCode:int Output",
    "container.HostConfig": """Binds:[] ContainerIDFile LogConfig:container.LogConfig NetworkMode
        PortBindings:map[nat.Port][]nat.PortBinding RestartPolicy:container.RestartPolicy AutoRemove:bool VolumeDriver
        VolumesFrom:[] ConsoleSize:[]int Annotations?:{} CapAdd:[] CapDrop:[] CgroupnsMode DNS=Dns:[]
        DNSOptions=DnsOptions:[] DNSSearch=DnsSearch:[] ExtraHosts:[] GroupAdd:[] IpcMode Cgroup Links:[]
        OomScoreAdj:int PidMode Privileged:bool PublishAllPorts:bool ReadonlyRootfs:bool SecurityOpt:[] StorageOpt?:{}
        Tmpfs?:{} UTSMode UsernsMode ShmSize:int Sysctls?:{} Runtime? Isolation +container.Resources
        Mounts?:[]mount.Mount MaskedPaths:[] ReadonlyPaths:[] Init?:*bool""",
    "container.LogConfig": "Type Config:{}",
    "container.RestartPolicy": "Name MaximumRetryCount:int",
    "nat.PortBinding": "HostIP=HostIp HostPort",
    "container.Resources": """CPUShares=CpuShares:int Memory:int NanoCPUs=NanoCpus:int CgroupParent BlkioWeight:int
        BlkioWeightDevice:[]*blkiodev.WeightDevice BlkioDeviceReadBps:[]*blkiodev.ThrottleDevice
        BlkioDeviceWriteBps:[]*blkiodev.ThrottleDevice BlkioDeviceReadIOps:[]*blkiodev.ThrottleDevice
        BlkioDeviceWriteIOps:[]*blkiodev.ThrottleDevice CPUPeriod=CpuPeriod:int CPUQuota=CpuQuota:int
        CPURealtimePeriod=CpuRealtimePeriod:int CPURealtimeRuntime=CpuRealtimeRuntime:int CpusetCpus CpusetMems
        Devices:[]container.DeviceMapping DeviceCgroupRules:[] DeviceRequests:[]container.DeviceRequest
        KernelMemory?:int KernelMemoryTCP?:int MemoryReservation:int MemorySwap:int MemorySwappiness:*int
        OomKillDisable:*bool PidsLimit:*int Ulimits:[]*units.Ulimit CPUCount=CpuCount:int CPUPercent=CpuPercent:int
        IOMaximumIOps:int IOMaximumBandwidth:int""",
    "blkiodev.WeightDevice": "Path Weight:int",
    "blkiodev.ThrottleDevice": "Path Rate:int",
    "container.DeviceMapping": "PathOnHost PathInContainer CgroupPermissions",
    "container.DeviceRequest": "Driver Count:int DeviceIDs:[] Capabilities:[][] Options:{}",
    "units.Ulimit": "Name Hard:int Soft:int",
    "mount.Mount": """Type? Source? Target? ReadOnly?:bool Consistency? BindOptions?:*mount.BindOptions
        VolumeOptions?:*mount.VolumeOptions ImageOptions?:*mount.ImageOptions TmpfsOptions?:*mount.TmpfsOptions
        ClusterOptions?:any""",
    "mount.BindOptions": """Propagation? NonRecursive?:bool CreateMountpoint?:bool ReadOnlyNonRecursive?:bool
        ReadOnlyForceRecursive?:bool""",
    "mount.VolumeOptions": "NoCopy?:bool Labels?:{} Subpath? DriverConfig?:*mount.Driver",
    "mount.Driver": "Name? Options?:{}",
    "mount.ImageOptions": "Subpath?",
    "mount.TmpfsOptions": "SizeBytes?:int Mode?:fs.FileMode Options?:[][]",
    "storage.DriverData": "Data:{} Name",
    "container.MountPoint": "Type? Name? Source Destination Driver? Mode RW:bool Propagation",
    "container.Config": """Hostname Domainname User AttachStdin:bool AttachStdout:bool AttachStderr:bool
        ExposedPorts?:map[nat.Port]struct{} Tty:bool OpenStdin:bool StdinOnce:bool Env:[] Cmd:[]
        Healthcheck?:*v1.HealthcheckConfig ArgsEscaped?:bool Image Volumes:map[string]struct{} WorkingDir
        Entrypoint:[] NetworkDisabled?:bool MacAddress? OnBuild:[] Labels:{} StopSignal? StopTimeout?:*int
        Shell?:[]""",
    "v1.HealthcheckConfig": """Test?:[] Interval?:time.Duration Timeout?:time.Duration StartPeriod?:time.Duration
        StartInterval?:time.Duration Retries?:int""",
    "container.NetworkSettings": """+container.NetworkSettingsBase +container.DefaultNetworkSettings
        Networks:map[string]*network.EndpointSettings""",
    "container.NetworkSettingsBase": """Bridge SandboxID SandboxKey Ports:map[nat.Port][]nat.PortBinding
        HairpinMode:bool LinkLocalIPv6Address LinkLocalIPv6PrefixLen:int SecondaryIPAddresses:[]any
        SecondaryIPv6Addresses:[]any""",
    "container.DefaultNetworkSettings": """EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen:int IPAddress
        IPPrefixLen:int IPv6Gateway MacAddress""",
    "network.EndpointSettings": """IPAMConfig:*network.EndpointIPAMConfig Links:[] Aliases:[] MacAddress DriverOpts:{}
        GwPriority:int NetworkID EndpointID Gateway IPAddress IPPrefixLen:int IPv6Gateway GlobalIPv6Address
        GlobalIPv6PrefixLen:int DNSNames:[]""",
    "network.EndpointIPAMConfig": "IPv4Address? IPv6Address? LinkLocalIPs?:[]",
    "v1.Descriptor": """MediaType=mediaType Digest=digest Size=size:int URLs=urls?:[] Annotations=annotations?:{}
        Data=data? Platform=platform?:*v1.Platform ArtifactType=artifactType?""",
    "v1.Platform": "Architecture=architecture OS=os OSVersion=os.version? OSFeatures=os.features?:[] Variant=variant?",
    "image.InspectResponse": """ID=Id RepoTags:[] RepoDigests:[] Parent Comment Created? Container?
        ContainerConfig?:*container.Config DockerVersion Author
        Config:*v1.DockerOCIImageConfig Architecture Variant? Os OsVersion? Size:int VirtualSize?:int
        GraphDriver:storage.DriverData RootFS:image.RootFS Metadata:image.Metadata Descriptor?:*v1.Descriptor
        Manifests?:[]any""",
    "v1.DockerOCIImageConfig": "+v1.ImageConfig +v1.DockerOCIImageConfigExt",
    "v1.ImageConfig": """User? ExposedPorts?:map[string]struct{} Env?:[] Entrypoint?:[] Cmd?:[]
        Volumes?:map[string]struct{} WorkingDir? Labels?:{} StopSignal? ArgsEscaped?:bool""",
    "v1.DockerOCIImageConfigExt": "Healthcheck?:*v1.HealthcheckConfig OnBuild?:[] Shell?:[]",
    "image.RootFS": "Type? Layers?:[]",
    "image.Metadata": "LastTagTime?:time.Time",
    "network.Inspect": """Name ID=Id Created:time.Time Scope Driver EnableIPv4:bool EnableIPv6:bool IPAM:network.IPAM
        Internal:bool Attachable:bool Ingress:bool ConfigFrom:network.ConfigReference ConfigOnly:bool
        Containers:map[string]network.EndpointResource Options:{} Labels:{} Peers?:[]any Services?:map[string]any""",
    "network.IPAM": "Driver Options:{} Config:[]network.IPAMConfig",
    "network.IPAMConfig": "Subnet? IPRange? Gateway? AuxAddress=AuxiliaryAddresses?:{}",
    "network.ConfigReference": "Network",
    "network.EndpointResource": "Name EndpointID MacAddress IPv4Address IPv6Address",
    "volume.Volume": """ClusterVolume?:any CreatedAt? Driver Labels:{} Mountpoint Name Options:{} Scope
        Status?:map[string]any UsageData?:*volume.UsageData""",
    "volume.UsageData": "RefCount:int Size:int",
    "system.dockerInfo": "+system.Info ClientInfo?:*system.clientInfo ServerErrors?:[] ClientErrors?:[]",
    "system.clientInfo": "Debug:bool +system.clientVersion Plugins:[]any Warnings:[]",
    "system.Info": """ID Containers:int ContainersRunning:int ContainersPaused:int ContainersStopped:int Images:int
        Driver DriverStatus:[][] SystemStatus?:[][] Plugins:system.PluginsInfo MemoryLimit:bool SwapLimit:bool
        KernelMemory?:bool KernelMemoryTCP?:bool CPUCfsPeriod=CpuCfsPeriod:bool CPUCfsQuota=CpuCfsQuota:bool
        CPUShares:bool CPUSet:bool PidsLimit:bool IPv4Forwarding:bool Debug:bool NFd:int OomKillDisable:bool
        NGoroutines:int SystemTime LoggingDriver CgroupDriver CgroupVersion? NEventsListener:int KernelVersion
        OperatingSystem OSVersion OSType Architecture IndexServerAddress RegistryConfig:*registry.ServiceConfig NCPU:int
        MemTotal:int GenericResources:[]any DockerRootDir HTTPProxy=HttpProxy HTTPSProxy=HttpsProxy NoProxy Name
        Labels:[] ExperimentalBuild:bool ServerVersion Runtimes:map[string]system.RuntimeWithStatus DefaultRuntime
        Swarm:swarm.Info LiveRestoreEnabled:bool Isolation InitBinary ContainerdCommit:system.Commit
        RuncCommit:system.Commit InitCommit:system.Commit SecurityOptions:[] ProductLicense?
        DefaultAddressPools?:[]system.NetworkAddressPool FirewallBackend?:*system.FirewallInfo CDISpecDirs:[]
        DiscoveredDevices?:[]any Containerd?:any Warnings:[]""",
    "system.PluginsInfo": "Volume:[] Network:[] Authorization:[] Log:[]",
    "registry.ServiceConfig": "IndexConfigs:map[string]*registry.IndexInfo InsecureRegistryCIDRs:[] Mirrors:[]",
    "registry.IndexInfo": "Mirrors:[] Name Official:bool Secure:bool",
    "system.RuntimeWithStatus": "+system.Runtime Status=status?:{}",
    "system.Runtime": "Path=path? Args=runtimeArgs?:[] Type=runtimeType? Options=options?:map[string]any",
    "swarm.Info": """NodeID NodeAddr LocalNodeState ControlAvailable:bool Error RemoteManagers:[]any Nodes?:int
        Managers?:int Cluster?:any Warnings?:[]""",
    "system.Commit": "ID Expected?",
    "system.NetworkAddressPool": "Base Size:int",
    "system.FirewallInfo": "Driver Info?:[][]",
    "system.versionInfo": "Client:system.clientVersion Server:*types.Version",
    "system.clientVersion": """Platform?:*system.platformInfo Version? APIVersion=ApiVersion? DefaultAPIVersion?
        GitCommit? GoVersion? Os? Arch? BuildTime? Context""",
    "system.platformInfo": "Name?",
    "types.Version": """Platform?:system.platformInfo Components?:[]types.ComponentVersion Version
        APIVersion=ApiVersion MinAPIVersion? GitCommit GoVersion Os Arch KernelVersion? Experimental?:bool
        BuildTime?""",
    "types.ComponentVersion": "Name Version Details?:{}",
    "events.Message": """Status=status? ID=id? From=from? Type Action Actor:events.Actor Scope=scope? Time=time?:int
        TimeNano=timeNano?:int""",
    "events.Actor": "ID Attributes:{}",
    "struct{}": "",
}


class _Time(str):
    """A moment in RFC 3339."""

    GO_NAME = "time.Time"

    def String(self) -> str:
        return go_time(str(self))


class _Duration(int):
    """Nanoseconds."""

    GO_NAME = "time.Duration"

    def String(self) -> str:
        return go_duration(int(self))


class _FileMode(int):
    """A kind of file and its permissions; the API sends no kind."""

    GO_NAME = "fs.FileMode"

    def String(self) -> str:
        kinds = "".join(letter for bit, letter in enumerate("dalTLDpSugct?") if self >> (31 - bit) & 1)
        granted = (letter if self >> (8 - bit) & 1 else "-" for bit, letter in enumerate("rwx" * 3))
        return (kinds or "-") + "".join(granted)


class _Port(str):
    """A port with its protocol, `80/tcp`."""

    GO_NAME = "nat.Port"

    def Port(self) -> str:
        return self.partition("/")[0]

    def Proto(self) -> str:
        return self.partition("/")[2] or "tcp"


class _Ulimit(Struct):
    """A limit of a process."""

    def String(self) -> str:
        return f"{self.document['Name']}={self.document['Soft']}:{self.document['Hard']}"


class _Device(Struct):
    """A block device with its weight or rate."""

    def String(self) -> str:
        return ":".join(str(self.document[field[1]]) for field in self.fields)


_SCALARS: dict[str, type[Any]] = {
    **{"string": str, "bool": bool, "int": int, "time.Time": _Time},
    **{"time.Duration": _Duration, "fs.FileMode": _FileMode, "nat.Port": _Port},
}
_CLASSES = {"units.Ulimit": _Ulimit, "blkiodev.WeightDevice": _Device, "blkiodev.ThrottleDevice": _Device}
_fields: dict[str, list[Field]] = {}


def typed(document: Any, name: str) -> Any:
    """A JSON document as a value of a type; what a struct holds is read when it is looked at."""
    if name in _SCALARS:
        class_ = _SCALARS[name]
        expected = str if issubclass(class_, str) else bool if class_ is bool else int
        return class_() if document is None else class_(document) if type(document) is expected else of_json(document)
    if name.startswith("*"):
        value = Nil(name) if document is None else typed(document, name[1:])
        if isinstance(value, Struct):
            value.GO_NAME = name
        return value
    if name == "any" or not isinstance(document, (list if name.startswith("[]") else dict, type(None))):
        return of_json(document)  # also what an engine of another version says in another way
    shown, is_nil = name.replace("any", "interface {}"), document is None
    if name.startswith("[]"):
        return List(shown, [typed(one, name[2:]) for one in document or ()], is_nil=is_nil)
    if name.startswith("map["):
        key, _, item = name[4:].partition("]")
        items = {_SCALARS[key](one): typed(value, item) for one, value in dict(document or {}).items()}
        return Map(shown, items, typed(None, item), is_nil=is_nil)
    if name not in _fields:
        _fields[name] = [_field(one) for one in _TYPES[name].split()]
    return _CLASSES.get(name, Struct)(name, _fields[name], document or {}, typed)


def _field(text: str) -> Field:
    """A field as the table writes it."""
    if text[0] == "+":
        return text.rpartition(".")[2], "", text[1:], False
    head, _, type_ = text.partition(":")
    name, _, member = head.rstrip("?").partition("=")
    type_ = "map[string]string" if type_ == "{}" else type_ + "string" if type_.endswith("[]") else type_ or "string"
    return name, member or name, type_, head[-1] == "?"
