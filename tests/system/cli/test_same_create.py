"""`darse create` and `update` send what docker's client sends for the same flags, and refuse what it refuses.

The engine is one of canned answers. A flag of docker's that ours lacks, or that no line here has, fails.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BIN, Client, docker_program
from tests.support.fake_engine import FakeEngine

pytestmark = pytest.mark.skipif(docker_program() is None, reason="docker's client is not installed")

# One command line each; `@` begins the name of a file below.
_CREATE = r"""
--add-host a:1.2.3.4
--add-host a=1.2.3.4 --add-host b:host-gateway --add-host "c:[::1]" --add-host d=::1
--add-host bad
--add-host a:xx
--add-host h:fe80::1%eth0
--annotation a=b --annotation c=d=e
--annotation bare
--annotation =x
-a stdin
-a STDOUT -a stderr
-a nonsense
--blkio-weight 300
--blkio-weight 70000
--blkio-weight -1
--blkio-weight-device /dev/sda:300
--blkio-weight-device /dev/sda:5
--blkio-weight-device sda:300
--blkio-weight-device /dev/sda
--cap-add NET_ADMIN --cap-drop ALL
--cgroup-parent /x --cgroupns host
--cgroupns private
--cgroupns bad
--cpu-period 5000 --cpu-quota 2000
--cpu-period x
--cpu-rt-period 5000 --cpu-rt-runtime 2000
--cpu-shares 5
-c 7
--cpus 1.5
--cpus .5
--cpus 0.0001
--cpus abc
--cpus 1.00000000001
--cpus -1
--cpuset-cpus 0-1 --cpuset-mems 0
--device /dev/null
--device /dev/null:/dev/x
--device /dev/null:/dev/x:r
--device /dev/null:rw
--device /dev/null:x:y:z
--device nothing
--device /dev/null:/dev/x:qq
--device vendor.com/class=name
--device-cgroup-rule "c 1:3 rwm"
--device-cgroup-rule "x"
--device-cgroup-rule "c *:* r"
--device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:10
--device-read-iops /dev/sda:100 --device-write-iops /dev/sda:7
--device-read-bps /dev/sda
--device-read-bps sda:1mb
--device-read-bps /dev/sda:x
--device-read-iops /dev/sda:1mb
--device-read-iops /dev/sda:-1
--dns 1.1.1.1 --dns ::1 --dns-option x --dns-opt y --dns-search a.b
--dns bad
--dns fe80::1%eth0
--dns-search .
--dns-search "a b"
--domainname dom
--entrypoint sh
--entrypoint ""
-e A=1 -e HOME -e NOPE_X -e B=
-e =x
-e ""
--env-file @env
--env-file @env2
--env-file @env -e A=2
--env-file @badenv
--env-file @badenv2
--env-file @badenv3
--env-file @missing
--expose 80 --expose 90-92/udp
--expose 70000
--expose 80/xyz
--expose ""
--expose 80:90
--gpus all
--gpus 2
--gpus device=0,driver=nvidia
--gpus '"device=0,1",capabilities=utility'
--gpus bad
--gpus count=1,device=2
--gpus a=b
--gpus 'driver=cdi,"device=a,b"'
--group-add 5 --group-add x
--health-cmd "true x" --health-interval 5s --health-timeout 3s --health-retries 2
--health-start-period 1m --health-start-interval 500ms
--health-interval 5s
--health-interval -5s
--health-interval 1
--health-interval 1us
--health-retries -1
--health-timeout -1s
--health-start-period -1s
--health-start-interval -1s
--no-healthcheck
--no-healthcheck --health-cmd x
--no-healthcheck --health-interval 5s
-h host
--hostname host --domainname x
--init
--init=false
-i
-it
-t
--ip 1.2.3.4
--ip x
--ip6 2001:db8::33
--network n --ip 1.2.3.4
--network n --ip6 2001:db8::33 --link-local-ip 169.254.1.1
--ipc host
--ipc bad
--isolation default
-l a=b -l c --label d=e=f
--label-file @lab -l a=z
--label-file @badlab
--label-file @missing
-l =x
-l ""
--link a:b --link c
--link ""
--link a:b:c
--log-driver syslog --log-opt a=b --log-opt c=d
--log-driver none --log-opt a=b
--log-opt bare
--mac-address 92:d0:c6:0a:29:33
--mac-address bad
-m 64m
-m 1g --memory-swap -1
-m 1g --memory-swap 2g --memory-reservation 500m --memory-swappiness 10
-m x
-m -1
-m 1.5g
-m 0
--memory-swap x
--memory-swappiness 101
--memory-swappiness -2
--memory-swappiness 0
--mount type=bind,src=/a,dst=/b
--mount type=bind,src=./a,dst=/b
--mount type=bind,src=rel/a,dst=/b
--mount type=bind,source=/a,target=/b,readonly,bind-propagation=rshared
--mount type=bind,source=/a,target=/b,ro=true,bind-nonrecursive
--mount type=bind,source=/a,target=/b,ro,bind-recursive=disabled
--mount type=bind,source=/a,target=/b,ro,bind-recursive=enabled
--mount type=bind,source=/a,target=/b,ro,bind-recursive=readonly,bind-propagation=rprivate
--mount type=bind,source=/a,target=/b,ro,bind-recursive=writable
--mount type=bind,source=/a,target=/b,bind-recursive=bad
--mount type=bind,source=/a,target=/b,bind-recursive=readonly
--mount type=volume,src=v,dst=/b,volume-nocopy,volume-subpath=x
--mount type=volume,src=v,dst=/b,volume-label=a=b,volume-driver=d,volume-opt=o=p,volume-opt=q=r=s
--mount src=v,dst=/b
--mount dst=/b
--mount src=v
--mount type=tmpfs,dst=/b,tmpfs-size=10m,tmpfs-mode=1777
--mount type=tmpfs,dst=/b,tmpfs-mode=9
--mount type=tmpfs,dst=/b,tmpfs-size=x
--mount type=tmpfs,dst=/b,volume-nocopy
--mount type=bind,src=/a,dst=/b,tmpfs-size=1
--mount type=bind,src=/a,dst=/b,volume-nocopy
--mount type=volume,src=a,dst=/b,bind-propagation=shared
--mount type=image,src=a,dst=/b
--mount type=image,src=a,dst=/b,image-subpath=x
--mount type=volume,src=a,dst=/b,image-subpath=x
--mount type=bad,src=a,dst=/b
--mount bad
--mount x=y
--mount type=bind,src=/a,dst=/b,readonly=maybe
--mount 'type=bind,src=/a,"dst=/b,c"'
--mount type=bind,src=/a,dst=/b,consistency=cached
--mount type=BIND,SRC=/a,dst=/b
--mount ""
--mount type=bind,src=/a,dst=/b,bind-create-src
--mount type=volume,src=v,dst=/b,volume-nocopy=false
--mount type=cluster,src=v,dst=/b
--mount "type=bind,src=/a, dst=/b"
--mount type=bind,src=/a,dst=/b,bind-propagation
--mount type=npipe,src=a,dst=/b
--name foo
--network none
--network host
--network bridge
--network n
--network n --network m
--network name=n,alias=a,alias=b,ip=1.2.3.4,ip6=::5
--network name=n,mac-address=92:d0:c6:0a:29:33,driver-opt=a=b,gw-priority=5,link-local-ip=169.254.0.1
--network name=n,bad=x
--network alias=x
--network n --network-alias a --network-alias b
--network-alias a
--network container:x
--network container:x --hostname y
--network host --network n
--network bridge --network-alias x
--network n --mac-address 92:d0:c6:0a:29:33
--network name=n,alias=a --network-alias b
--network name=n,ip=1.2.3.4 --ip 1.2.3.5
--network n --link a:b
--net n --net-alias q
--network n --network n
--network ""
--network name=n,gw-priority=x
--network name=n,driver-opt=bare
--network default
--oom-kill-disable
--oom-kill-disable=false
--oom-score-adj 100
--oom-score-adj 1001
--pid host
--pid container:x
--pid bad
--pids-limit 5
--pids-limit -1
--pids-limit 0
--platform linux/amd64
--privileged
-p 80
-p 8080:80
-p 127.0.0.1:8080:80/udp
-p 127.0.0.1::80
-p [::1]:8080:80
-p 8000-8002:80-82
-p 8000-8002:80
-p 80-82
-p 8000-8001:80-82
-p bad
-p 80:bad
-p 99999:80
-p target=80,published=8080,protocol=udp
-p target=80,published=8080,mode=ingress
-p published=8080
-p 80/xyz
-p ""
-p 0:80
-p :80
-p ::80
-p 80:80 -p 80:80/udp
-P
--pull always
--pull bad
-q
--read-only
--restart always
--restart on-failure:3
--restart on-failure
--restart unless-stopped
--restart no
--restart bad
--restart on-failure:x
--restart always:5
--restart :3
--restart on-failure:1:2
--rm
--rm --restart always
--rm --restart no
--runtime runc
--security-opt no-new-privileges
--security-opt no-new-privileges=false
--security-opt no-new-privileges:true
--security-opt seccomp=unconfined
--security-opt seccomp:unconfined
--security-opt seccomp=@sec.json
--security-opt seccomp=@missing
--security-opt apparmor=unconfined
--security-opt label=disable --security-opt label:type:x
--security-opt systempaths=unconfined
--security-opt systempaths=unconfined --privileged
--security-opt bad
--security-opt a=b
--security-opt proc-opts=x
--shm-size 16m
--shm-size x
--shm-size 0
--stop-signal SIGINT
--stop-timeout 5
--stop-timeout -1
--stop-timeout 0
--storage-opt size=10G
--storage-opt bad
--sysctl net.a=1 --sysctl b=c
--sysctl bare
--tmpfs /a --tmpfs /b:size=5m,ro
--tmpfs a:b:c
--ulimit nofile=100:200 --ulimit nproc=5
--ulimit nofile=-1
--ulimit nofile=200:100
--ulimit nofile=a
--ulimit bad=1
--ulimit nofile
--ulimit nofile=1:2:3
--ulimit nofile=unlimited
--ulimit nofile=5:-1
-u 5:6
--user x
--userns host
--userns bad
--uts host
--uts bad
-v /a:/b
-v /a:/b:ro,z
-v vol:/b
-v /b
-v ./a:/b
-v ../a:/b
-v ~/a:/b
-v .:/b
-v a/b:/c
-v rel
-v a:b:c:d
-v /a:/b:bad
-v /a:b
-v :/b
-v /a:
-v ""
-v /:/
-v a:/b:nocopy
--volume-driver x -v vol:/b
--volumes-from a --volumes-from b:ro
--volumes-from ""
-w /x
-w rel
--use-api-socket
--disable-content-trust
--cpu-count 1
--cpu-percent 5
--io-maxbandwidth 5m
--io-maxiops 5
--ulimit nofile=-1:5
-p bad:80:80
-p 1.2.3.4:80
--cap-add net_admin --cap-add CAP_CHOWN --cap-drop chown --cap-drop MKNOD
--cap-add ALL --cap-drop ALL
--cap-add all --cap-drop chown
--cap-drop ALL --cap-add chown
--health-interval 5x
--health-interval 1.5m
--pid container:
--dns 127.0.0.1
--dns-search ""
--dns-search a_b
--dns-search 123
--dns-search a.b.
--expose 90-80
--expose 80-x
-p 80-79
--mount type=bind,src=/a,dst=/b,ro,bind-recursive=readonly
--mount type=,dst=/b
--mount type=tmpfs,dst=/b,tmpfs-mode=
--network container:x --network-alias y
--network host --ip 1.2.3.4
--network none --link a
--network m --network n
-h x --network host
--device /dev/null:/dev//x:rw
--device /dev/null:/dev//x
--device /dev//null
--device :x
--device-read-bps ":1"
-c x
--init=x
--restart on-failure:-1
-m 5mib
-m "5 m"
-m 5KB
"""
_UPDATE = """
update c
update --cpus 1 c
update -m 64m --memory-swap -1 --memory-reservation 32m c
update --kernel-memory 64m c
update --cpu-rt-period 5 --cpu-rt-runtime 3 --cpu-shares 7 --cpu-period 5000 --cpu-quota 3000 c
update --cpuset-cpus 0 --cpuset-mems 0 --blkio-weight 20 c
update --pids-limit 10 --restart always c
update --pids-limit 0 c
update --pids-limit -1 c
update --restart on-failure:3 c
update --restart bad c
update --cpus x c
update -m x c
update c d
update --restart no d c
update
update --memory-swap x c
update --blkio-weight 70000 c
"""
# Of other commands, where docker does not ask in an order of its own.
_OTHERS = """
exec -d --env-file missing c true
exec -d -e =x c true
exec c
stop -t 5 -s INT c
stop --timeout 0 c
restart -t 3 -s HUP c
kill -s HUP c
pause c
unpause c
rename c e
rename c
rm c
rm -f -v c
rm -f -v -l c
start c d
start -a c d
logs --since 2020-01-01T00:00:00 --until 2021-01-01 -t --details --tail all c
logs -n 3 c
top c
top c -o pid,comm aux
diff c
port c
port c 80
port c 80/udp
commit c Bad
inspect -s --type container c
inspect --type bad c
ps --filter name
container prune -f --filter bad
update --restart always --cpus 2 c
cp c:/x -
cp -a -L -q c:/a c:/b
cp a b
"""
_FILES = {
    "env": 'A=1\n# c\n  B=2\n\nHOME\nNOBODY_SETS_IT\nC=a # b\nD="q"\n',
    "env2": "\ufeffX=y\r\nZ=1\r\n",
    "badenv": "E x=1\n",
    "badenv2": "=x\n",
    "badenv3": b"A=\xff\n",
    "lab": "a=b\n#c=d\n  e=f\nbare\n",
    "badlab": "a b=c\n",
    "sec.json": '{ "defaultAction": "SCMP_ACT_ALLOW" }',
}
# Told by docker's client whether they are asked for or not; they mean the same as nothing.
_DEFAULTS = ({"ConsoleSize": [0, 0]}, {"MemorySwappiness": -1})
# Sent, and warned of by the engine; docker's client leaves them out in silence, or asks a server that is no more.
_ELSEWHERE = frozenset({"help", "kernel-memory", "cidfile"})
_COMMANDS = (
    "run create exec update ps rm logs top stats start stop restart kill pause unpause rename wait attach commit cp "
    "diff export port inspect events info version images pull push rmi save load import tag history login logout search"
).split()


def _meaning(value: Any) -> Any:
    """A body without what is empty, and in one order where order means nothing."""
    if isinstance(value, list):
        return [_meaning(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, one in value.items():
        if key in ("Volumes", "ExposedPorts", "Env") and one:
            found[key] = sorted(one)
        elif (key in ("MaskedPaths", "ReadonlyPaths") and one is not None) or (
            {key: one} not in _DEFAULTS and _meaning(one) not in (None, "", 0, [], {})
        ):
            found[key] = _meaning(one)
    return found


class _Both:
    """The two commands at the canned engine."""

    def __init__(self, engine: FakeEngine, directory: Path) -> None:
        program = docker_program()
        assert program
        self._engine = engine
        self._directory = directory
        self._clients = [Client(one, engine.host, directory / "config") for one in (program, str(BIN / "darse"))]

    def differ(self, *arguments: str) -> str:
        """How what they do with a command line differs; empty when it does not."""
        docker, darse = (self._did(client, arguments) for client in self._clients)
        return "" if docker == darse else f"{shlex.join(arguments)}:\n  docker {docker}\n  darse  {darse}"

    def _did(self, client: Client, arguments: tuple[str, ...]) -> Any:
        done = client(*arguments, cwd=self._directory)
        asked = [
            (
                one.line,
                {key: value for key, value in one.query.items() if value},
                _meaning(json.loads(one.body or b"null")),
            )
            for one in self._engine.requests()
        ]
        return done.status, done.out, done.err.replace("docker", "darse").strip(), asked


@pytest.fixture
def both(tmp_path: Path) -> Any:
    for name, content in _FILES.items():
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with FakeEngine(tmp_path) as engine:
        engine.answers["POST", "/containers/create"] = {"Id": "ab" * 32, "Warnings": []}
        engine.answers["POST", "/containers/c/update"] = {"Warnings": []}
        yield _Both(engine, tmp_path)


def test_create(both: _Both, tmp_path: Path) -> None:
    """As `run` does before it starts."""
    different = []
    for line in _CREATE.splitlines():
        words = [f"{tmp_path}/".join(word.split("@")) if "@" in word else word for word in shlex.split(line)]
        different.append(both.differ("create", *words, "img"))
    assert not any(different), "\n".join(filter(None, different))


def test_update(both: _Both) -> None:
    different = [both.differ(*shlex.split(line)) for line in _UPDATE.strip().splitlines()]
    assert not any(different), "\n".join(filter(None, different))


def test_other_commands(both: _Both) -> None:
    different = [both.differ(*shlex.split(line)) for line in _OTHERS.strip().splitlines()]
    assert not any(different), "\n".join(filter(None, different))


def _flags(program: str, command: str) -> dict[str, str]:
    """The flags that a command's help names, each with its letter."""
    done = Client(program, "unix:///nonexistent", Path("/nonexistent"))(command, "--help").ok()
    return {name: letter for letter, name in re.findall(r"(?m)^\s+(?:-(\w), )?--([\w-]+)", done.out)}


@pytest.mark.parametrize("command", _COMMANDS)
def test_no_flag_of_dockers_is_missing(command: str) -> None:
    """Those that it hides from some engines are accepted, too."""
    from darse.cli.command_line import index

    program = docker_program()
    assert program
    entry = index.resolve([command])
    assert entry is not None
    module = __import__(index.COMMANDS[entry[1]].module, fromlist=["COMMANDS"])
    ours = {flag.name: flag.short for flag in module.COMMANDS[entry[1]][0].flags}
    theirs = _flags(program, command)
    theirs.pop("help", None)
    assert {name: ours.get(name) for name in theirs} == theirs


def test_no_flag_of_create_is_untried() -> None:
    program = docker_program()
    assert program
    letters = {letter: name for name, letter in _flags(program, "create").items() if letter}
    lines = f"{_CREATE} {_UPDATE}".replace("=", " ")
    tried = set(re.findall(r"--([\w-]+)", lines)) | {
        letters[one] for one in re.findall(r"(?<=-)(\w)\b", lines) if one in letters
    }
    assert set(_flags(program, "create")) - tried - _ELSEWHERE == set()
