"""Every endpoint that the engine has is driven here, and each answer validated against the API's specification."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import ApiClient, Response, connect
from tests.support.specification import CheckedClient, Specification, specification_path
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    specification_path() is None, reason="the API's specification is not there: set DARSE_API_SPEC to its file"
)
SLEEP = {"Image": BUSYBOX, "Cmd": ["sleep", "1000"]}


@pytest.fixture(scope="module")
def specification() -> Specification:
    path = specification_path()
    assert path is not None
    return Specification(path)


def newest(engine: Engine) -> ApiClient:
    """A client of the newest version of the API."""
    return ApiClient(str(engine.socket), version=None)


@pytest.fixture
def api(engine: Engine, specification: Specification) -> Iterator[CheckedClient]:
    """The checked client; the test fails at its end with all that it found."""
    client = CheckedClient(newest(engine), specification)
    yield client
    assert not client.problems, "\n".join(dict.fromkeys(client.problems))


def drive_containers(api: CheckedClient, engine: Engine) -> None:
    """The life of a container, with each way to look at it."""
    body = {
        **SLEEP,
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "Env": ["X=y"],
        "HostConfig": {
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}], "53/udp": [{"HostPort": ""}]},
            "Binds": ["named:/named"],
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20}}],
            "Memory": 64 << 20,
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
            "LogConfig": {"Type": "json-file", "Config": {}},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        },
    }
    api("POST", "/containers/create?name=one", body, expect=201)
    api("POST", "/containers/create?name=one", body, expect=409)
    api("POST", "/containers/create", {"Image": "no-such-image"}, expect=404)
    api("POST", "/containers/create?name=$", SLEEP, expect=400)
    api("GET", "/containers/one/json", expect=200)
    api("POST", "/containers/one/start", expect=204)
    api("POST", "/containers/one/start", expect=304)
    api("GET", "/containers/one/json?size=1", expect=200)
    api("GET", "/containers/json?all=1&size=1", expect=200)
    api("GET", "/containers/json", query={"filters": {"label": ["a"]}}, expect=200)
    api("GET", "/containers/json", query={"filters": {"nonsense": ["a"]}}, expect=400)
    api("GET", "/containers/one/logs?stdout=1", expect=200)
    api("GET", "/containers/one/logs", expect=400)
    api("POST", "/containers/one/resize?h=10&w=10")
    api("POST", "/containers/one/rename?name=two", expect=204)
    api("POST", "/containers/two/pause", expect=204)
    api("GET", "/containers/two/json", expect=200)
    api("POST", "/containers/two/unpause", expect=204)
    api("POST", "/containers/two/restart?t=0", expect=204)
    api("POST", "/containers/two/kill?signal=KILL", expect=204)
    api("POST", "/containers/two/wait", expect=200)
    api("POST", "/containers/two/kill", expect=409)
    api("POST", "/containers/two/stop", expect=304)
    api("POST", "/containers/two/start", expect=204)
    api("DELETE", "/containers/two", expect=409)
    api("POST", "/containers/two/stop?t=0", expect=204)
    api("POST", "/containers/two/wait?condition=nonsense", expect=400)
    api("GET", "/containers/two/json", expect=200)
    api("DELETE", "/containers/two?v=1", expect=204)
    api("POST", "/containers/create?name=three", SLEEP, expect=201)
    api("POST", "/containers/prune", expect=200)
    for method, path in (
        ("GET", "json"),
        ("GET", "logs?stdout=1"),
        *(("POST", action) for action in ("start", "stop", "restart", "kill", "pause", "unpause", "wait")),
        ("POST", "rename?name=xx"),
        ("POST", "resize?h=1&w=1"),
        ("POST", "attach"),
    ):
        api(method, f"/containers/nobody/{path}", expect=404)
    api("DELETE", "/containers/nobody", expect=404)


def drive_files(api: CheckedClient, engine: Engine) -> None:
    """A container's files as archives, and as an image."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        made.addfile(tarfile.TarInfo("file"))
    api("POST", "/containers/create?name=files", {**SLEEP, "HostConfig": {"ReadonlyRootfs": False}}, expect=201)
    api("POST", "/containers/create?name=sealed", {**SLEEP, "HostConfig": {"ReadonlyRootfs": True}}, expect=201)
    for name in ("files", "nobody"):
        there = name == "files"
        api("PUT", f"/containers/{name}/archive?path=/", archive.getvalue(), expect=200 if there else 404)
        api("GET", f"/containers/{name}/archive?path=/file", expect=200 if there else 404)
        api("HEAD", f"/containers/{name}/archive?path=/file", expect=200 if there else 404)
        api("GET", f"/containers/{name}/export", expect=200 if there else 404)
        api("POST", f"/commit?container={name}&repo=test/committed", expect=201 if there else 404)
    api("PUT", "/containers/sealed/archive?path=/", archive.getvalue(), expect=403)
    api("PUT", "/containers/files/archive?path=/", b"no archive" * 100, expect=400)
    api("PUT", "/containers/files/archive?path=/none", archive.getvalue(), expect=404)
    api("GET", "/containers/files/archive", expect=400)
    api("GET", "/containers/files/archive?path=/none", expect=404)
    api("DELETE", "/images/test/committed:latest", expect=200)


def drive_streams(api: CheckedClient, engine: Engine) -> None:
    """attach and its websocket form: the protocol's switch is looked at on the wire."""
    api("POST", "/containers/create?name=stream", {**SLEEP, "OpenStdin": True}, expect=201)
    api("POST", "/containers/stream/start", expect=204)
    status, headers = upgrade(engine, "POST", "/containers/stream/attach?stream=1&stdout=1", "tcp")
    assert (status, headers["content-type"]) == (101, "application/vnd.docker.multiplexed-stream")
    api.check("POST", "/containers/stream/attach", None, Response(status, {}, b""))
    status, headers = upgrade(engine, "GET", "/containers/stream/attach/ws?stream=1&stdout=1", "websocket")
    assert (status, headers["upgrade"].lower()) == (101, "websocket")
    api.check("GET", "/containers/stream/attach/ws", None, Response(status, {}, b""))


def upgrade(engine: Engine, method: str, path: str, protocol: str) -> tuple[int, dict[str, str]]:
    """Ask for a change of protocol; the status and the headers of the answer."""
    with connect(str(engine.socket)) as connection:
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://localhost\r\n"
        extra = key if protocol == "websocket" else ""
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{extra}"
            "Content-Length: 0\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = connection.recv(4096)
            assert piece, answer
            answer += piece
    first, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers


def drive_observation(api: CheckedClient, engine: Engine) -> None:
    """top, stats, changes, update."""
    api("POST", "/containers/create?name=seen", {**SLEEP, "HostConfig": {"Memory": 64 << 20}}, expect=201)
    api("GET", "/containers/seen/top", expect=409)
    api("GET", "/containers/seen/stats?stream=false", expect=200)
    api("POST", "/containers/seen/start", expect=204)
    api("GET", "/containers/seen/top", expect=200)
    api("GET", "/containers/seen/top?ps_args=aux", expect=200)
    api("GET", "/containers/seen/top?ps_args=-o+comm", expect=500)
    api("GET", "/containers/seen/changes", expect=200)
    api("GET", "/containers/nobody/changes", expect=404)
    api("GET", "/containers/seen/stats?stream=false", expect=200)
    api("GET", "/containers/seen/stats?stream=false&one-shot=true", expect=200)
    api("GET", "/containers/seen/stats?one-shot=true", expect=400)
    body = {"Memory": 32 << 20, "MemorySwap": -1, "PidsLimit": 10, "RestartPolicy": {"Name": "always"}}
    api("POST", "/containers/seen/update", body, expect=200)
    api("POST", "/containers/seen/update", {"Memory": 1}, expect=400)
    for method, path in (("GET", "top"), ("GET", "stats"), ("POST", "update")):
        api(method, f"/containers/nobody/{path}", {} if path == "update" else None, expect=404)


def drive_execs(api: CheckedClient, engine: Engine) -> None:
    """Execs."""
    api("POST", "/containers/create?name=host", SLEEP, expect=201)
    api("POST", "/containers/host/exec", {"Cmd": ["true"]}, expect=409)
    api("POST", "/containers/host/start", expect=204)
    made = api("POST", "/containers/host/exec", {"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": True}, expect=201)
    identity = made.json()["Id"]
    api("GET", f"/exec/{identity}/json", expect=200)
    api("POST", f"/exec/{identity}/start", {"Detach": False, "Tty": False}, expect=200)
    wait_until(lambda: api("GET", f"/exec/{identity}/json").json()["ExitCode"] == 3, what="the exec's end")
    tty = api("POST", "/containers/host/exec", {"Cmd": ["sleep", "10"], "Tty": True}, expect=201).json()["Id"]
    api("POST", f"/exec/{tty}/start", {"Detach": True, "Tty": True}, expect=200)
    api("POST", f"/exec/{tty}/resize?h=20&w=40", expect=200)
    api("POST", "/containers/nobody/exec", {"Cmd": ["true"]}, expect=404)
    for method, path in (("GET", "json"), ("POST", "start"), ("POST", "resize?h=1&w=1")):
        api(method, f"/exec/nobody/{path}", {} if path == "start" else None, expect=404)


def drive_images(api: CheckedClient, engine: Engine) -> None:
    """Images without a registry."""
    api("GET", "/images/json?all=1&digests=1&shared-size=1", expect=200)
    api("GET", f"/images/{BUSYBOX}/json", expect=200)
    api("GET", f"/images/{BUSYBOX}/history", expect=200)
    api("GET", f"/images/{BUSYBOX}/attestations", expect=200)
    api("GET", "/images/nothing/attestations", expect=404)
    api("POST", f"/images/{BUSYBOX}/tag?repo=test/conformance&tag=1", expect=201)
    saved = api("GET", "/images/test/conformance:1/get", expect=200)
    api("GET", "/images/get?names=test/conformance:1", expect=200)
    api("DELETE", "/images/test/conformance:1", expect=200)
    api("POST", "/images/load", saved.body, headers={"Content-Type": "application/x-tar"}, expect=200)
    api("DELETE", "/images/test/conformance:1", expect=200)
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as made:
        made.addfile(tarfile.TarInfo("file"))
    api("POST", "/images/create?fromSrc=-&repo=test/imported&tag=1", layer.getvalue(), expect=200)
    api("GET", "/images/test/imported:1/json", expect=200)
    api("POST", "/containers/create?name=user", {"Image": "test/imported:1", "Cmd": ["x"]}, expect=201)
    api("DELETE", "/images/test/imported:1", expect=409)
    api("DELETE", "/containers/user", expect=204)
    api("DELETE", "/images/test/imported:1?force=1", expect=200)
    api("POST", "/images/create?fromSrc=-", layer.getvalue(), expect=200)
    api("GET", "/images/json", query={"filters": {"dangling": ["true"]}}, expect=200)
    api("POST", "/images/prune", expect=200)
    api("GET", "/images/nothing/json", expect=404)
    api("GET", "/images/nothing/history", expect=404)
    api("POST", "/images/nothing/tag?repo=x", expect=404)
    api("DELETE", "/images/nothing", expect=404)


def drive_registries(api: CheckedClient, engine: Engine) -> None:
    """What speaks to registries; nobody listens at this one."""
    nobody = "127.0.0.1:9"
    api("POST", f"/images/create?fromImage={nobody}/a/b&tag=1", expect=500)
    api("POST", "/images/create?fromImage=UPPER", expect=400)
    api("POST", f"/images/{BUSYBOX}/tag?repo={nobody}/a/b&tag=1", expect=201)
    api("POST", f"/images/{nobody}/a/b/push?tag=1", expect=200)
    api("DELETE", f"/images/{nobody}/a/b:1", expect=200)
    api("POST", "/images/no/such/push?tag=1", expect=404)
    api("POST", "/auth", {"username": "a", "password": "b", "serveraddress": nobody}, expect=500)
    api("GET", f"/images/search?term={nobody}/a", expect=500)
    api("GET", "/images/search?term=a&limit=1000", expect=400)
    api("GET", f"/distribution/{nobody}/a/b/json", expect=500)


def drive_volumes(api: CheckedClient, engine: Engine) -> None:
    """Volumes."""
    api("POST", "/volumes/create", {"Name": "mine", "Labels": {"a": "b"}, "DriverOpts": {}}, expect=201)
    api("POST", "/volumes/create", {}, expect=201)
    api("GET", "/volumes", expect=200)
    api("GET", "/volumes/mine", expect=200)
    api("GET", "/volumes/nothing", expect=404)
    api("POST", "/containers/create?name=user", {**SLEEP, "HostConfig": {"Binds": ["mine:/m"]}}, expect=201)
    api("DELETE", "/volumes/mine", expect=409)
    api("DELETE", "/containers/user", expect=204)
    api("POST", "/volumes/prune", expect=200)
    api("DELETE", "/volumes/mine", expect=204)
    api("DELETE", "/volumes/mine", expect=404)


def drive_networks(api: CheckedClient, engine: Engine) -> None:
    """Networks."""
    config = {"Config": [{"Subnet": "10.97.1.0/24", "Gateway": "10.97.1.1"}], "Driver": "default"}
    body = {"Name": "mine", "Driver": "bridge", "IPAM": config, "Labels": {"a": "b"}, "Options": {}}
    api("POST", "/networks/create", body, expect=201)
    api("POST", "/networks/create", {"Name": "mine"}, expect=409)
    api("POST", "/networks/create", {"Name": "other", "Driver": "no-such-driver"}, expect=404)
    api("GET", "/networks", expect=200)
    api("POST", "/containers/create?name=member", SLEEP, expect=201)
    api("POST", "/containers/member/start", expect=204)
    api("POST", "/networks/mine/connect", {"Container": "member"}, expect=200)
    api("GET", "/networks/mine?verbose=1", expect=200)
    api("GET", "/containers/member/json", expect=200)
    api("DELETE", "/networks/mine", expect=403)
    api("POST", "/networks/mine/disconnect", {"Container": "member", "Force": False}, expect=200)
    api("DELETE", "/networks/mine", expect=204)
    api("DELETE", "/networks/bridge", expect=403)
    api("GET", "/networks/nothing", expect=404)
    api("DELETE", "/networks/nothing", expect=404)
    api("POST", "/networks/nothing/connect", {"Container": "member"}, expect=404)
    api("POST", "/networks/nothing/disconnect", {"Container": "member"}, expect=404)
    api("POST", "/networks/create", {"Name": "pruned"}, expect=201)
    api("POST", "/networks/prune", expect=200)


def drive_system(api: CheckedClient, engine: Engine) -> None:
    """The engine itself."""
    assert api("GET", "/_ping", expect=200).headers["Api-Version"] == "1.55"
    api("HEAD", "/_ping", expect=200)
    api("GET", "/version", expect=200)
    api("POST", "/containers/create?name=seen", {**SLEEP, "HostConfig": {"Binds": ["vol:/v"]}}, expect=201)
    api("POST", "/containers/seen/start", expect=204)
    now = api("GET", "/info", expect=200).json()["SystemTime"]
    api("GET", "/system/df", expect=200)
    api("GET", "/system/df?verbose=1", expect=200)
    api("POST", "/build/prune", expect=200)
    api("GET", "/plugins", expect=200)
    api("GET", "/events?since=nonsense", expect=400)
    events = newest(engine)("GET", f"/events?since=0&until={now}")
    assert events.status == 200
    for line in events.body.splitlines():
        api.check("GET", "/events", None, Response(200, {"Content-Type": "application/json"}, line))
    assert engine.api("GET", "/darse/explain/seen").status == 200
    assert engine.api("GET", "/darse/explain").status == 200
    assert engine.api("GET", "/darse/doctor").status == 200
    for method in ("GET", "POST"):
        assert engine.api(method, "/darse/check").status == 200
    assert engine.api("POST", "/darse/import-docker", {"DataRoot": "/nowhere", "DryRun": True}).status == 404


def drive_builds(api: CheckedClient, engine: Engine) -> None:
    """Builds by the classic builder."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        content = f"FROM {BUSYBOX}\nRUN true\n".encode()
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    api("POST", "/build?t=built:1", context.getvalue(), expect=200)
    api("GET", "/images/built:1/json", expect=200)
    api("POST", "/build?dockerfile=none", context.getvalue(), expect=400)
    api("POST", "/build/cancel?id=nobody", expect=200)
    api("POST", "/session", expect=400)
    (last, *_) = engine.api("GET", "/darse/builds").json()
    assert engine.api("GET", f"/darse/builds/{last['ID']}").status == 200
    assert engine.api("GET", f"/darse/builds/{last['ID']}/logs").status == 200
    assert engine.api("GET", "/build/caches/nobody").status == 404
    api("DELETE", "/images/built:1", expect=200)
    api("POST", "/build/prune", expect=200)


def drive_plugins(api: CheckedClient, engine: Engine) -> None:
    """Managed plugins: one that cannot run, for what can is in tests/system/plugins."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        interface = {"types": ["docker.authz/1.0"], "socket": "x.sock"}
        content = json.dumps({"entrypoint": ["/none"], "interface": interface}).encode()
        member = tarfile.TarInfo("config.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        directory = tarfile.TarInfo("rootfs")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(directory)
    api("POST", "/plugins/create?name=me/none", made.getvalue(), expect=204)
    api("GET", "/plugins", expect=200)
    api("GET", "/plugins/me/none/json", expect=200)
    api("GET", "/plugins/none/json", expect=404)
    engine.api("POST", "/plugins/me/none/set", [])
    assert engine.api("POST", "/plugins/me/none/enable?timeout=1").status in (400, 500)
    nobody = "remote=127.0.0.1:1/no/body"
    api("GET", f"/plugins/privileges?{nobody}", expect=500)
    api("POST", f"/plugins/pull?{nobody}", expect=500)
    api("DELETE", "/plugins/me/none", expect=200)
    for method, path in (("POST", "enable"), ("POST", "disable"), ("POST", "set"), ("POST", "push")):
        api(method, f"/plugins/none/{path}", expect=404)
    api("POST", f"/plugins/none/upgrade?{nobody}", expect=404)
    api("DELETE", "/plugins/none", expect=404)


DRIVERS: list[Callable[[CheckedClient, Engine], None]] = [
    drive_containers,
    drive_files,
    drive_streams,
    drive_observation,
    drive_execs,
    drive_images,
    drive_registries,
    drive_builds,
    drive_volumes,
    drive_plugins,
    drive_networks,
    drive_system,
]


@pytest.mark.parametrize("drive", DRIVERS, ids=lambda drive: drive.__name__.removeprefix("drive_"))
def test_answers_conform(api: CheckedClient, engine: Engine, drive: Callable[[CheckedClient, Engine], None]) -> None:
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    drive(api, engine)


def test_every_endpoint_is_driven(engine: Engine, specification: Specification, tell: Callable[[str], None]) -> None:
    """All that the engine routes is driven above, or says that it is not there yet; tells how much that is."""
    from darse.api.app import all_routes

    client = CheckedClient(newest(engine), specification)
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    for drive in DRIVERS:
        drive(client, engine)
        engine.remove_all()
    driven = {(method, shape(path)) for method, path in client.validated}
    declared = {(method, shape(path)) for method, path in specification.operations}
    routed = {(method, shape(path)) for method, path in all_routes().templates}
    rest = sorted((routed & declared) - driven)
    for method, path in rest:
        answer = engine.api(method, path.replace("{}", "x"))
        # 501: not there yet; 503: outside of a swarm.
        assert answer.status in (501, 503), f"{method} {path} is there, and driven by no test: {answer}"
        assert method == "HEAD" or answer.message
    answers = sum(len(statuses) for statuses in client.validated.values())
    tell(
        f"conformance: {len(driven)} endpoints driven, {answers} kinds of answers validated, {len(client.problems)} "
        f"problems; {len(rest)} of the specification's {len(declared)} endpoints say that they are not there, "
        f"{len(declared - routed)} are unknown"
    )
    assert {path for _, path in routed - declared} <= UNDECLARED


# What is ours, what docker's engine has as an experiment, and what it has and does not document.
UNDECLARED = {
    *(
        "/darse/explain",
        "/darse/explain/{}",
        "/darse/dns/{}",
        "/darse/orphans",
        "/darse/doctor",
        "/darse/check",
        "/darse/import-docker",
        "/darse/usage",
        "/darse/containers/{}/files",
        "/grpc",
    ),
    *("/containers/{}/checkpoints", "/containers/{}/checkpoints/{}"),
    "/build/cancel",
    # For `darse build`: what a classic client cannot ask for.
    *("/build/agents", "/build/caches/{}", "/build/contexts"),
    *("/darse/builds", "/darse/builds/{}", "/darse/builds/{}/logs"),
    *(f"/darse/volumes/{{}}/{what}" for what in ("archive", "clone", "snapshots", "restore", "usage")),
}


def shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def test_versions_are_negotiated(engine: Engine) -> None:
    assert engine.api("GET", "/v1.24/version").status == 200
    assert engine.api("GET", "/v1.55/version").status == 200
    assert "too new" in engine.api("GET", "/v1.99/version").message
    assert "too old" in engine.api("GET", "/v1.20/version").message
    assert json.loads(engine.api("GET", "/version").body)["ApiVersion"] == "1.55"
    assert engine.api("GET", "/nowhere").status == 404
