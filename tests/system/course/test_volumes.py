"""A Docker course's chapter on volumes: its commands as they stand there, with `docker` and with `darse`."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from tests.support.engine import Client, Engine
from tests.support.hub import Hub
from tests.support.managed_plugins import plugin_directory
from tests.support.registry import Registry, needs_registry
from tests.support.waiting import wait_until

MIB = 1 << 20
PROMPT = re.compile(r"root@[0-9a-f]{12}:/# ")
# The course's folder of the host.
SHARED = Path("/tmp/myfolder")
TMPFS = "docker volume create --driver local --opt type=tmpfs --opt device=tmpfs --opt o=size=100m my_tmpfs"
CEPH = """docker plugin install flaviostutz/ceph --grant-all-permissions --alias=ceph MONITOR_HOSTS="10.78.62.1:6789"
 ETCD_URL="http://10.78.62.1:2379" DEFAULT_IMAGE_SIZE=10"""


class Course:
    """Types lines of the course, with either command."""

    def __init__(self, cli: Client) -> None:
        self.cli = cli

    def __call__(self, line: str) -> str:
        """What a line prints; it fails when the command does."""
        name, *arguments = shlex.split(line)
        assert name == "docker"
        return self.cli(*arguments).ok().line

    def typed(self, line: str, *commands: str) -> str:
        """What is seen on the terminal of a shell in which commands are typed, and which then ends."""
        terminal = self.cli.terminal(*shlex.split(line)[1:])
        terminal.expect(PROMPT)
        for command in commands:
            terminal.sendline(command)
        terminal.sendline("exit")
        terminal.expect(pexpect.EOF)
        terminal.close()
        return str(terminal.before.decode())


@pytest.fixture
def course(hub: Hub, hub_cli: Client) -> Course:
    hub.have("ubuntu:latest")
    hub.engine.docker("tag", "ubuntu:latest", "my-ubuntu").ok()
    return Course(hub_cli)


@pytest.fixture
def shared() -> Iterator[Path]:
    """The course's folder, which no one else has."""
    if SHARED.exists():
        pytest.skip(f"{SHARED} is there, and not the test's")
    SHARED.mkdir()
    yield SHARED
    shutil.rmtree(SHARED)


def inspected(course: Course, volume: str) -> dict[str, Any]:
    (seen,) = json.loads(course(f"docker volume inspect {volume}"))
    return dict(seen)


def test_a_folder_of_the_host(course: Course, shared: Path) -> None:
    (shared / "old").write_text("of the host\n")
    line = "docker run --rm -ti -v /tmp/myfolder:/myfolder --name m1 my-ubuntu bash"
    assert "of the host" in course.typed(line, "cat /myfolder/old", "echo edited > /myfolder/new")
    assert (shared / "new").read_text() == "edited\n"
    line = line.replace(":/myfolder", ":/myfolder:ro")
    seen = course.typed(line, "cat /myfolder/new", "echo more > /myfolder/new", "rm /myfolder/old")
    assert "edited" in seen
    assert seen.count("Read-only file system") == 2
    assert (shared / "new").read_text() == "edited\n"
    assert (shared / "old").exists()


def test_a_file_of_the_host(course: Course, shared: Path) -> None:
    (shared / "file").write_text("settings\n")
    line = "docker run --rm -ti -v /tmp/myfolder/file:/etc/settings --name m1 my-ubuntu bash"
    assert "settings" in course.typed(line, "cat /etc/settings", "echo changed > /etc/settings")
    assert (shared / "file").read_text() == "changed\n"


def test_an_ephemeral_volume_is_shared_and_goes(course: Course) -> None:
    course("docker run --rm -ti -v /myfolder -d --name m1 my-ubuntu bash")
    course("docker exec m1 bash -c 'echo from m1 > /myfolder/note'")
    seen = course.typed("docker run --rm -ti --volumes-from m1 --name m2 my-ubuntu bash", "cat /myfolder/note")
    assert "from m1" in seen
    (volume,) = course("docker volume ls -q").splitlines()
    assert len(volume) == 64
    course("docker rm -f m1")
    wait_until(lambda: course("docker volume ls -q") == "", what="the end of the volume")


def test_a_volume_of_a_name(course: Course) -> None:
    assert course("docker volume create mon_volume") == "mon_volume"
    assert course("docker volume ls").splitlines()[1].split() == ["local", "mon_volume"]
    assert inspected(course, "mon_volume")["Driver"] == "local"
    container = course("docker run -d -v mon_volume:/chemin/complet ubuntu:latest")
    course(f"docker wait {container}")
    mounts = json.loads(course(f"docker inspect -f '{{{{json .Mounts}}}}' {container}"))
    assert [(one["Name"], one["Destination"]) for one in mounts] == [("mon_volume", "/chemin/complet")]
    refused = course.cli("volume", "rm", "mon_volume")
    assert "volume is in use" in refused.err
    course("docker run --rm -v mon_volume:/chemin/complet ubuntu:latest bash -c 'echo kept > /chemin/complet/file'")
    course(f"docker rm -v {container}")
    # Only volumes without a name are unused for good.
    assert "mon_volume" not in course("docker volume prune -f")
    again = course("docker run --rm -v mon_volume:/chemin/complet ubuntu:latest cat /chemin/complet/file")
    assert again == "kept"
    assert course("docker volume rm mon_volume") == "mon_volume"
    assert course("docker volume ls -q") == ""


def test_a_volume_of_memory_takes_a_hundred_megabytes_and_no_byte_more(course: Course) -> None:
    assert course(TMPFS) == "my_tmpfs"
    assert inspected(course, "my_tmpfs")["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=100m"}
    course("docker run -d --name user -v my_tmpfs:/m ubuntu:latest sleep 600")
    course("docker exec user bash -c 'head -c 100M /dev/zero > /m/full'")
    assert course("docker exec user stat -c %s /m/full") == str(100 * MIB)
    one_more = course.cli("exec", "user", "bash", "-c", "printf x >> /m/full")
    assert one_more.status != 0
    assert "No space left on device" in one_more.err
    course("docker rm -f user")
    # Memory is not kept: the next one finds nothing.
    assert course("docker run --rm -v my_tmpfs:/m ubuntu:latest ls /m") == ""
    course("docker volume rm my_tmpfs")


def test_cp(course: Course, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("copied\n")
    source.chmod(0o640)
    (tmp_path / "link").symlink_to(source)
    course("docker run -d --name running ubuntu:latest sleep 600")
    course("docker create --name stopped ubuntu:latest")
    for name in ("running", "stopped"):
        course(f"docker cp {source} {name}:/etc/renamed")
        course(f"docker cp {name}:/etc/renamed {tmp_path}/back-{name}")
        back = tmp_path / f"back-{name}"
        assert (back.read_text(), back.stat().st_mode & 0o777) == ("copied\n", 0o640)
        course(f"docker cp {tmp_path}/link {name}:/etc/link")
        course(f"docker cp -L {tmp_path}/link {name}:/etc/followed")
        course(f"docker cp {name}:/etc/link {tmp_path}/link-{name}")
        assert (tmp_path / f"link-{name}").is_symlink()
        course(f"docker cp {name}:/etc/followed {tmp_path}/followed-{name}")
        assert not (tmp_path / f"followed-{name}").is_symlink()
        assert (tmp_path / f"followed-{name}").read_text() == "copied\n"
    refused = course.cli("cp", "running:/etc/renamed", "stopped:/etc/other")
    assert "copying between containers is not supported" in refused.err


@needs_registry
@pytest.mark.parametrize("program", ["docker", "darse"])
def test_the_plugin_for_ceph(program: str, hub: Hub, new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    """A stand-in, which keeps volumes in a directory, comes from a registry under the course's name."""
    state = tmp_path / "state"
    state.mkdir()
    variables = [{"name": name, "settable": ["value"]} for name in ("MONITOR_HOSTS", "ETCD_URL", "DEFAULT_IMAGE_SIZE")]
    mounts = [{"source": str(state), "destination": "/state", "type": "bind", "options": ["rbind"]}]
    made = plugin_directory("directory-volumes", tmp_path / "plugin", env=variables, mounts=mounts)
    with Registry() as registry:
        engine = new_engine("--registry-mirror", registry.url)
        engine.docker("load", "-q", "-i", str(hub.archive("ubuntu:latest", tmp_path))).ok()
        name = f"{registry.address}/flaviostutz/ceph"
        engine.darse("plugin", "create", name, str(made)).ok()
        engine.darse("plugin", "push", name).ok()
        engine.darse("plugin", "rm", name).ok()
        course = Course(getattr(engine, program))
        course(CEPH)
        (seen,) = json.loads(course("docker plugin inspect ceph"))
        assert (seen["Name"], seen["Enabled"]) == ("ceph:latest", True)
        assert seen["PluginReference"] == "docker.io/flaviostutz/ceph:latest"
        assert seen["Settings"]["Env"] == [
            "MONITOR_HOSTS=10.78.62.1:6789",
            "ETCD_URL=http://10.78.62.1:2379",
            "DEFAULT_IMAGE_SIZE=10",
        ]
        assert course("docker volume create --driver=ceph mon_pool/mon_volume") == "mon_pool/mon_volume"
        assert inspected(course, "mon_pool/mon_volume")["Driver"] == "ceph:latest"
        run = "docker run --rm -v mon_pool/mon_volume:/data ubuntu:latest"
        course(f"{run} bash -c 'echo kept > /data/file'")
        assert (state / "mon_pool%mon_volume" / "file").read_text() == "kept\n"
        wait_until(
            lambda: course("docker volume ls").splitlines()[1:] == ["ceph:latest   mon_pool/mon_volume"],
            what="the plugin's volume",
        )
        assert course(f"{run} cat /data/file") == "kept"
        assert course("docker volume rm mon_pool/mon_volume") == "mon_pool/mon_volume"
        assert [path.name for path in state.iterdir() if path.is_dir()] == []
        course("docker plugin disable ceph")
        course("docker plugin rm ceph")
