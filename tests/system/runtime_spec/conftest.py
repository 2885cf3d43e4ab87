"""A container run by crun straight from a spec of ours: no engine, no monitor, a root of busybox alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from darse.runtime.cgroups.hierarchies import Cgroups
from darse.runtime.oci.mounts import Mounts
from darse.runtime.oci.spec import SharedNamespaces, SpecInputs, build_spec
from darse.runtime.oci.user import lookup_user
from darse.runtime.sysinfo import SysInfo, read_sysinfo
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig

CRUN = shutil.which("crun")
BUSYBOX = Path("/bin/busybox")
SECONDS = 60


class Bundle:
    """A directory with a root file system and a config.json."""

    def __init__(self, directory: Path, facts: SysInfo) -> None:
        self.directory = directory
        self.rootfs = directory / "rootfs"
        self.facts = facts
        self.name = f"darse-test-{uuid.uuid4().hex[:12]}"
        (self.rootfs / "bin").mkdir(parents=True)
        (self.rootfs / "etc").mkdir()
        (self.rootfs / "tmp").mkdir(mode=0o777)
        shutil.copy(BUSYBOX, self.rootfs / "bin/busybox")
        for applet in subprocess.run([BUSYBOX, "--list"], capture_output=True, check=True, text=True).stdout.split():
            if applet != "busybox":
                (self.rootfs / "bin" / applet).symlink_to("busybox")
        (self.rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n")
        (self.rootfs / "etc/group").write_text("root:x:0:\nada:x:1000:\nvideo:x:44:ada\n")

    def run(
        self,
        script: str,
        host: HostConfig | None = None,
        *,
        config: ContainerConfig | None = None,
        mounts: Mounts = (),
        namespaces: SharedNamespaces | None = None,
        init_program: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in a container to its end."""
        host = host or HostConfig()
        host.ShmSize = host.ShmSize or 1 << 26
        config = config or ContainerConfig()
        config.Cmd = config.Cmd or ["sh", "-c", script]
        root_fd = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY)
        try:
            user = lookup_user(root_fd, config.User, host.GroupAdd or ())
        finally:
            os.close(root_fd)
        spec = build_spec(
            SpecInputs(
                config=config,
                host=host,
                facts=self.facts,
                user=user,
                rootfs=str(self.rootfs),
                hostname="testing",
                cgroup_path=f"/darse-test/{self.name}",
                namespaces=namespaces or SharedNamespaces(cgroup="" if self.facts.cgroup_version == 2 else None),
                mounts=mounts,
                init_program=init_program,
            )
        )
        (self.directory / "config.json").write_bytes(msgspec.json.encode(spec))
        assert CRUN is not None
        # In a mount namespace of its own, as the engine has it: nothing is left of the mounts.
        command = [CRUN, f"--root={self.directory}/state", "run", "--bundle", str(self.directory), self.name]
        wrapped = ["unshare", "--mount", "--propagation", "private", "--", *command]
        return subprocess.run(
            wrapped, capture_output=True, text=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL
        )


@pytest.fixture(scope="session")
def facts() -> SysInfo:
    """What this host can do."""
    if CRUN is None or not BUSYBOX.exists():
        pytest.skip("crun and busybox-static are needed")
    cgroups = Cgroups()
    cgroups.prepare()
    return read_sysinfo(cgroups)


@pytest.fixture
def new_bundle(tmp_path: Path, facts: SysInfo) -> Iterator[Callable[[], Bundle]]:
    """Makes bundles; their cgroups are gone afterwards."""
    made: list[Bundle] = []

    def make() -> Bundle:
        made.append(Bundle(tmp_path / f"bundle{len(made)}", facts))
        return made[-1]

    yield make
    cgroups = Cgroups()
    for bundle in made:
        asyncio.run(cgroups.remove_cgroup(f"/darse-test/{bundle.name}"))
    cgroups.remove_parent("/darse-test")


@pytest.fixture
def bundle(new_bundle: Callable[[], Bundle]) -> Bundle:
    """One bundle."""
    return new_bundle()
