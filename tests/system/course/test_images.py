"""A Docker course's chapters on images: its commands as they stand there, with `docker` and with `darse`.

The Hub is the catalogue's registry, which the engine has as its mirror.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.support.engine import Client
from tests.support.hub import Hub
from tests.system.course.support import images, inspect

HUB = "docker.io/library"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
pytestmark = pytest.mark.usefixtures("no_images")


def test_pull(hub_cli: Client) -> None:
    said = hub_cli("pull", "python:3.9-slim").ok().out.splitlines()
    assert said[0] == "3.9-slim: Pulling from library/python"
    assert sum(line.endswith(": Pull complete") for line in said) == 3
    assert re.fullmatch(f"Digest: {DIGEST.pattern}", said[-3])
    assert said[-2:] == [
        "Status: Downloaded newer image for python:3.9-slim",
        f"{HUB}/python:3.9-slim",
    ]
    assert images(hub_cli) == ["python:3.9-slim"]
    again = hub_cli("pull", "python:3.9-slim").ok().out
    assert "Status: Image is up to date for python:3.9-slim" in again


def test_layers_that_are_shared_already_exist(hub_cli: Client, hub: Hub) -> None:
    hub_cli("pull", "python:3.9-slim").ok()
    asked = len(hub.registry.requests())
    said = hub_cli("pull", "nginx").ok().out.splitlines()
    assert said[0] == "Using default tag: latest"
    # The base, and what it has in common with python: certificates and curl.
    assert sum(line.endswith(": Already exists") for line in said) == 2
    shared = inspect(hub_cli, "python:3.9-slim")["RootFS"]["Layers"][:2]
    assert inspect(hub_cli, "nginx")["RootFS"]["Layers"][:2] == shared
    blobs = [request for request in hub.registry.requests()[asked:] if "GET /v2/library/nginx/blobs/" in request]
    assert len(blobs) == len(inspect(hub_cli, "nginx")["RootFS"]["Layers"]) - 2 + 1  # and the configuration


def test_run_pulls_what_is_missing(hub_cli: Client) -> None:
    done = hub_cli("run", "hello-world").ok()
    assert "Unable to find image 'hello-world:latest' locally" in done.err
    assert "Hello from Docker!" in done.out
    done = hub_cli("run", "hello-world").ok()
    assert "Unable to find" not in done.err


def test_history_and_inspect(hub_cli: Client) -> None:
    hub_cli("pull", "-q", "python:3.9-slim").ok()
    header, *rows = hub_cli("history", "python:3.9-slim").ok().out.splitlines()
    assert header.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert 'CMD ["python3"]' in rows[0]
    full = hub_cli("history", "--no-trunc", "python:3.9-slim").ok().out
    assert "RUN install_packages python3 python3-pip && rm -f /usr/lib/python3.11/EXTERNALLY-MANAGED" in full
    (seen,) = json.loads(hub_cli("inspect", "python:3.9-slim").ok().out)
    assert seen["Config"]["Cmd"] == ["python3"]
    assert "LANG=C.UTF-8" in seen["Config"]["Env"]
    assert seen["Os"] == "linux"


def test_tags(hub_cli: Client) -> None:
    for name in ("nginx:1.23.4", "nginx", "nginx:alpine"):
        assert hub_cli("pull", "-q", name).ok().line == f"{HUB}/{name if ':' in name else f'{name}:latest'}"
    identities = [inspect(hub_cli, name)["Id"] for name in ("nginx:1.23.4", "nginx:latest", "nginx:alpine")]
    assert identities[0] == identities[1] != identities[2]
    assert sorted(images(hub_cli, "nginx")) == ["nginx:1.23.4", "nginx:alpine", "nginx:latest"]
    missing = hub_cli("pull", "nginx:no-such-tag")
    assert missing.status == 1
    assert "not found" in missing.err or "unknown" in missing.err or "denied" in missing.err


def test_by_digest(hub_cli: Client) -> None:
    digest = DIGEST.search(hub_cli("pull", "hello-world").ok().out)[0]
    hub_cli("rmi", "hello-world").ok()
    said = hub_cli("pull", f"hello-world@{digest}").ok().out
    assert f"Status: Downloaded newer image for hello-world@{digest}" in said
    assert inspect(hub_cli, f"hello-world@{digest}")["RepoTags"] == []
    assert inspect(hub_cli, f"hello-world@{digest}")["RepoDigests"] == [f"hello-world@{digest}"]
    assert "Hello from Docker!" in hub_cli("run", "--rm", f"hello-world@{digest}").ok().out


def test_another_platform(hub_cli: Client) -> None:
    here = {"x86_64": "amd64", "aarch64": "arm64"}[subprocess.check_output(["uname", "-m"], text=True).strip()]
    other = "arm64" if here == "amd64" else "amd64"
    hub_cli("pull", "--platform", f"linux/{other}", "hello-world").ok()
    assert inspect(hub_cli, "hello-world")["Architecture"] == other
    hub_cli("pull", "hello-world").ok()
    assert inspect(hub_cli, "hello-world")["Architecture"] == here
    refused = hub_cli("pull", "--platform", "linux/s390x", "hello-world")
    assert refused.status == 1
    assert "no matching manifest for linux/s390x in the manifest list entries" in refused.err


def test_save_gzip_load(hub_cli: Client, tmp_path: Path) -> None:
    """`save nginx:alpine | gzip -9 > f.tar.gz`, `gunzip -c f.tar.gz | docker load`."""
    hub_cli("pull", "-q", "nginx:alpine").ok()
    identity = inspect(hub_cli, "nginx:alpine")["Id"]
    packed = gzip.compress(hub_cli("save", "nginx:alpine").ok().raw, 9)
    hub_cli("rmi", "nginx:alpine").ok()
    assert images(hub_cli) == []
    assert hub_cli("load", input=gzip.decompress(packed)).ok().out == "Loaded image: nginx:alpine\n"
    assert inspect(hub_cli, "nginx:alpine")["Id"] == identity
    hub_cli("rmi", "nginx:alpine").ok()
    assert hub_cli("load", input=packed).ok().out == "Loaded image: nginx:alpine\n"
    assert hub_cli("run", "--rm", "nginx:alpine", "nginx", "-v").ok().err.startswith("nginx version: nginx/")


def test_rmi_and_prune(hub_cli: Client) -> None:
    hub_cli("pull", "-q", "nginx:1.23.4").ok()
    hub_cli("pull", "-q", "hello-world").ok()
    gone = hub_cli("rmi", "nginx:1.23.4").ok().out
    assert "Untagged: nginx:1.23.4" in gone
    assert len(re.findall(rf"Deleted: {DIGEST.pattern}", gone)) > 3
    hub_cli("run", "--name", "user", "hello-world").ok()
    refused = hub_cli("rmi", "hello-world")
    assert refused.status == 1
    assert "conflict: unable to remove repository reference" in refused.err
    assert "Total reclaimed space: 0B" in hub_cli("image", "prune", "-f").ok().out
    hub_cli("rm", "user").ok()
    gone = hub_cli("image", "prune", "-a", "-f").ok().out
    assert "untagged: hello-world:latest" in gone
    assert images(hub_cli) == []
