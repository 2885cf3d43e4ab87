"""Hostile requests: strategies that make them, and a client that sends bytes as they are and looks at the answer."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from tests.support.http import connect

DEADLINE = 20.0

# Words that mean something to the engine, so that requests get past the first check, and words that should not.
WORDS = (
    "victim sleeper fuzzed1 fuzzed2 builtin/busybox builtin/busybox:latest bridge host none data latest true".split()
)
TRICKS = [
    *". .. ../../etc/passwd /../../.. ....//....//etc a/../b /etc/shadow // %00 %2e%2e%2f % %zz - -rf --help".split(),
    *"sha256: container: container:victim @ name@sha256:bad : :: a:b:c:d 99999999999999999999 -1 1e999 NaN".split(),
    *"{} [] \" ' `id` $(id) ;id \\ * ? # &a=b 1.5 0x10".split(),
    *["", "a b", "a\tb", "a\nb", "a\rb", "\x00", "a\x00b", "é", "\u202e", "\ud83d\ude00", "\ud83d"],
    *["a" * 256, "a" * 5000, "sha256:" + "0" * 64, "0" * 64, "f" * 12],
]
NUMBERS = [0, 1, -1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.5, -0.0, 1e300]

text = st.one_of(st.sampled_from(WORDS), st.sampled_from(TRICKS), st.text(max_size=20).filter(lambda s: "/" not in s))
# Names of containers: those that there are, most of the time, and those that requests before have made.
names = st.one_of(st.sampled_from(["victim", "sleeper", "fuzzed1", "fuzzed2"]), text)
scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(), text)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=6,
)

texts = st.lists(text, max_size=3)
mappings = st.dictionaries(text, text, max_size=3)
amounts = st.one_of(st.sampled_from(NUMBERS), st.integers(-2, 1 << 40))
ports = st.dictionaries(
    st.sampled_from(["80/tcp", "80", "53/udp", "0/tcp", "65536/tcp", "1-70000/tcp", "80/nonsense", "-1/tcp", ""]),
    st.one_of(st.none(), st.lists(st.fixed_dictionaries({"HostPort": text, "HostIp": text}), max_size=2)),
    max_size=2,
)
# What a member takes, with hostile words in the places of sane ones: gets further than a wrong type does.
SHAPES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        "Cmd Entrypoint Env Dns DnsSearch DnsOptions ExtraHosts GroupAdd CapAdd CapDrop Links".split(), texts
    ),
    **dict.fromkeys("SecurityOpt VolumesFrom Shell OnBuild DeviceCgroupRules MaskedPaths ReadonlyPaths".split(), texts),
    **dict.fromkeys("Labels Annotations Sysctls StorageOpt Tmpfs DriverOpts Options".split(), mappings),
    **dict.fromkeys("Memory MemorySwap NanoCpus CpuShares CpuPeriod CpuQuota PidsLimit ShmSize".split(), amounts),
    **dict.fromkeys("OomScoreAdj BlkioWeight MemorySwappiness StopTimeout".split(), amounts),
    **dict.fromkeys(
        "User WorkingDir Hostname Domainname StopSignal MacAddress NetworkMode IpcMode PidMode".split(), text
    ),
    **dict.fromkeys(
        "UTSMode CgroupnsMode Runtime CpusetCpus CpusetMems Name Driver DetachKeys Container".split(), text
    ),
    **dict.fromkeys(
        "Tty OpenStdin AutoRemove Privileged ReadonlyRootfs Init PublishAllPorts Detach".split(), st.booleans()
    ),
    "PortBindings": ports,
    "ExposedPorts": st.dictionaries(text, st.just({}), max_size=2),
    "Volumes": st.dictionaries(text, st.just({}), max_size=2),
    "Ulimits": st.lists(st.fixed_dictionaries({"Name": text, "Soft": amounts, "Hard": amounts}), max_size=2),
    "Devices": st.lists(
        st.fixed_dictionaries({"PathOnHost": text, "PathInContainer": text, "CgroupPermissions": text}), max_size=2
    ),
    "Mounts": st.lists(
        st.fixed_dictionaries(
            {"Type": st.sampled_from(["volume", "tmpfs", "nonsense"]), "Target": text, "Source": text}
        ),
        max_size=2,
    ),
    "RestartPolicy": st.fixed_dictionaries({"Name": text, "MaximumRetryCount": amounts}),
    "LogConfig": st.fixed_dictionaries({"Type": text, "Config": mappings}),
    "IPAM": st.fixed_dictionaries(
        {"Driver": text, "Config": st.lists(st.dictionaries(st.sampled_from(["Subnet", "Gateway", "IPRange"]), text))}
    ),
}


def document(members: list[str], size: int) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the members, with values of the right shape or any other."""
    pairs = st.sampled_from(members).flatmap(
        lambda member: st.tuples(st.just(member), st.one_of(SHAPES[member], values) if member in SHAPES else values)
    )
    return st.lists(pairs, max_size=size).map(dict)


QUERIES = """
    name all limit size filters force v link t signal h w stdout stderr stdin stream logs since until tail timestamps
    follow details condition detachKeys fromImage repo tag message changes platform names noprune digests shared-size
    verbose scope type quiet last nonsense
""".split()
# Members of the bodies. Left out is what makes the engine act on the host at the words of a test: bind mounts.
_MEMBERS = {
    "/containers/create": """
        Image Cmd Entrypoint Env User WorkingDir Hostname Domainname Labels ExposedPorts Volumes Tty OpenStdin StdinOnce
        AttachStdin StopSignal StopTimeout Healthcheck Shell NetworkDisabled MacAddress ArgsEscaped OnBuild HostConfig
        NetworkingConfig Nonsense
    """,
    "HostConfig": """
        Memory MemorySwap NanoCpus CpuShares CpuPeriod CpuQuota CpusetCpus CpusetMems PidsLimit Ulimits Devices
        DeviceCgroupRules DeviceRequests CapAdd CapDrop NetworkMode PortBindings RestartPolicy AutoRemove LogConfig Dns
        DnsSearch DnsOptions ExtraHosts GroupAdd IpcMode PidMode UTSMode UsernsMode CgroupnsMode Cgroup CgroupParent
        Links OomScoreAdj Init Privileged PublishAllPorts ReadonlyRootfs SecurityOpt StorageOpt Tmpfs ShmSize Sysctls
        Runtime Isolation Mounts VolumesFrom VolumeDriver MaskedPaths ReadonlyPaths ConsoleSize BlkioWeight
        BlkioWeightDevice MemorySwappiness OomKillDisable Annotations KernelMemory nonsense
    """,
    "/containers/{id}/exec": """
        Cmd Env User WorkingDir Tty AttachStdin AttachStdout AttachStderr Privileged DetachKeys ConsoleSize nonsense
    """,
    "/exec/{id}/start": "Detach Tty ConsoleSize nonsense",
    "/volumes/create": "Name Driver DriverOpts Labels ClusterVolumeSpec nonsense",
    "/networks/create": """
        Name Driver Scope Internal Attachable Ingress ConfigOnly ConfigFrom IPAM EnableIPv6 EnableIPv4 Options Labels
        CheckDuplicate nonsense
    """,
    "/networks/{id}/connect": "Container EndpointConfig nonsense",
    "/networks/{id}/disconnect": "Container Force nonsense",
    "": "nonsense",
}
MEMBERS = {template: members.split() for template, members in _MEMBERS.items()}
VERSIONS = "1.24 1.41 1.51 1.55 1.99 0.1 1 1.51.1 99999999999999999999.1".split()
CONTENT_TYPES = ["application/json", "text/plain", "application/x-tar", "", "application/json; charset=utf-7"]


@dataclass(frozen=True)
class Request:
    """Bytes to send, and how they came about."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self) -> bytes:
        """As it goes over the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: engine"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + self.body


@st.composite
def requests(draw: st.DrawFn, routes: list[tuple[str, str]]) -> Request:
    """A request to one of `routes`, with hostile parameters, query and body."""
    method, template = draw(st.sampled_from(routes))
    path = template
    for parameter in ("{id}", "{name}"):
        if parameter in path:
            word = draw(names)
            path = path.replace(parameter, word if draw(st.integers(0, 9)) == 0 else encoded(word))
    path = "".join(letter if letter.isprintable() and letter != " " else encoded(letter) for letter in path)
    parameters = st.one_of(text, scalars.map(str), values.map(as_json))
    query = draw(st.dictionaries(st.sampled_from(QUERIES), parameters, max_size=3))
    if template == "/containers/create" and draw(st.booleans()):
        query["name"] = draw(st.sampled_from(["fuzzed1", "fuzzed2"]))
    if query:
        path += "?" + "&".join(f"{key}={encoded(value)}" for key, value in query.items())
    if draw(st.integers(0, 3)) == 0:
        path = f"/v{draw(st.sampled_from(VERSIONS))}{path}"
    headers = {}
    if draw(st.booleans()):
        headers["Content-Type"] = draw(st.sampled_from(CONTENT_TYPES))
    if draw(st.integers(0, 9)) == 0:
        headers["Connection"] = "Upgrade"
        headers["Upgrade"] = draw(st.sampled_from(["tcp", "websocket", "h2c", "nonsense"]))
    body = b""
    if method in ("POST", "PUT") and draw(st.integers(0, 9)) > 0:
        body = draw(bodies(template))
    return Request(method, path, headers, body)


@st.composite
def bodies(draw: st.DrawFn, template: str) -> bytes:
    """A body for a route: mostly the right members with wrong values, now and then something else altogether."""
    kind = draw(st.integers(0, 19))
    if kind == 0:
        return draw(st.binary(max_size=200))
    if kind == 1:
        return as_json(draw(values)).encode()
    if kind == 2:
        return b"[" * draw(st.sampled_from([10, 1000, 100000]))
    if kind == 3:
        return b'{"Image": 1e' + b"9" * draw(st.integers(1, 400)) + b"}"
    made = draw(document(MEMBERS.get(template, MEMBERS[""]), 4))
    if template == "/containers/create":
        if draw(st.integers(0, 3)) > 0:
            made["Image"] = "builtin/busybox"
        if draw(st.booleans()):
            made["HostConfig"] = draw(document(MEMBERS["HostConfig"], 4))
    data = as_json(made).encode()
    return data[: len(data) // 2] if kind == 4 else data


def encoded(value: str) -> str:
    """A value as it stands in a URL; lone surrogates are encoded too, as only a hostile client does."""
    return quote(value, safe="", errors="surrogatepass")


def as_json(value: Any) -> str:
    """A value as JSON, surrogates and all."""
    return json.dumps(value)


def send(socket_path: str, data: bytes) -> tuple[int, bytes]:
    """Send bytes; return the status and the body of the answer (what has come of it, for an endless one).

    Raises AssertionError when the engine does not answer within the deadline, or ends the connection without a word.
    """
    with contextlib.closing(connect(socket_path, DEADLINE)) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # The engine may answer, and close, before all was sent.
            connection.sendall(data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += receive(connection, answer)
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        while len(body) < length and not data.startswith(b"HEAD"):
            body += receive(connection, answer)
        return status, body


def receive(connection: socket.socket, so_far: bytes) -> bytes:
    """The next bytes of an answer."""
    try:
        piece = connection.recv(65536)
    except TimeoutError:
        raise AssertionError(f"no answer within {DEADLINE} s; so far: {so_far[:200]!r}") from None
    except ConnectionResetError:
        piece = b""
    assert piece, f"the connection was ended without an answer; so far: {so_far[:200]!r}"
    return piece


_REFUSED_ATTACH = re.compile(rb"POST (/v[0-9.]+)?/containers/[^ ?]*/attach[ ?]")


def check(request: bytes, status: int, body: bytes) -> None:
    """What must be true of every answer."""
    # 501: not there yet; 503: no swarm here; 500, as the specification wants: a registry that does not answer.
    unreachable = status == 500 and (b"dial tcp" in body or b"proxyconnect" in body)
    fine = status < 500 or status == 501 or (status == 503 and b"swarm" in body) or unreachable
    assert fine, f"{status} {body[:500]!r} for {request[:2000]!r}"
    if status >= 400 and _REFUSED_ATTACH.match(request):
        assert body.strip(), "a refused attachment gets its reason as text, where its stream would begin"
    elif status >= 400 and not request.startswith(b"HEAD"):
        document = json.loads(body)
        assert isinstance(document.get("message"), str), body
        assert document["message"], body
