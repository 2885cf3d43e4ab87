"""docs/from-docker.md: what it says to type moves images and volumes from one engine to another."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.engine import BIN, BUSYBOX, REPOSITORY, Engine, docker_program


def test_images_and_volumes_are_moved(engine: Engine, new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    (script,) = re.findall(r"^```sh\n(.*?)^```", (REPOSITORY / "docs" / "from-docker.md").read_text(), re.M | re.S)
    other = new_engine()
    # The engine of all tests stands for dockerd, the other one is darse's.
    for name, program, host in (("docker", docker_program(), engine.host), ("darse", BIN / "darse", other.host)):
        file = tmp_path / name
        file.write_text(f'#!/bin/sh\nDOCKER_HOST={host} DARSE_HOST={host} exec {program} "$@"\n')
        file.chmod(0o755)
    engine.docker(
        "run", "--rm", "-v", "moved:/data", BUSYBOX, "sh", "-c", "echo kept > /data/file; chown 7:8 /data/file"
    )
    engine.docker("tag", BUSYBOX, "busybox:latest").ok()
    try:
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_CONFIG": str(tmp_path)}
        done = subprocess.run(["sh", "-e"], input=script, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "busybox:latest" in other.darse("images", "--format", "{{.Repository}}:{{.Tag}}").ok().out.split()
        seen = other.darse(
            "run", "--rm", "-v", "moved:/data", "busybox", "sh", "-c", "cat /data/file; stat -c %u:%g /data/file"
        )
        assert seen.ok().out.split() == ["kept", "7:8"]
    finally:
        engine.docker("rmi", "busybox:latest")
        engine.docker("volume", "rm", "-f", "moved")
