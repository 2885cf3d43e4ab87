"""Builds whose steps really install packages: bases with what this host's clients need to reach their registries.

The Dockerfiles stay as they are: certificates and variables of pip, npm, Go and Java are put into an image of the
base's own name, and steps run on the host's network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.engine import Client
from tests.support.waiting import wait_until

CLASSIC = {"DOCKER_BUILDKIT": "0"}
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_JAVA_CERTIFICATES = Path("/etc/ssl/certs/java/cacerts")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_GO = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GOFLAGS", "GOPRIVATE")
_PREFIXES = ("PIP_", "NPM_CONFIG_", "npm_config_", *_PROXIES, *_GO)
# What names a directory of this host.
_OF_HOST = frozenset({"PIP_FIND_LINKS"})


def provide_base(client: Client, name: str, of: str, directory: Path) -> None:
    """Make a base with what this host's clients need; `of` is the catalogue's name for it."""
    directory.mkdir()
    lines = [f"FROM {of}"]
    if _CERTIFICATES.exists():
        shutil.copy(_CERTIFICATES, directory / "certificates")
        lines.append(f"COPY certificates {_CERTIFICATES}")
        lines.append(f"ENV NODE_EXTRA_CA_CERTS={_CERTIFICATES} SSL_CERT_FILE={_CERTIFICATES}")
    if _JAVA_CERTIFICATES.exists():
        shutil.copy(_JAVA_CERTIFICATES, directory / "java-certificates")
        lines.append(f"COPY java-certificates {_JAVA_CERTIFICATES}")
    for variable, value in sorted(os.environ.items()):
        if variable.startswith(_PREFIXES) and variable not in _OF_HOST:
            lines.append(f'ENV {variable}="{value}"')
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")
    client("build", "-t", name, str(directory), env=CLASSIC, timeout=600).ok()


def need(what: str, *command: str) -> None:
    """Skip where a package client of this host is missing, or reaches no registry."""
    if shutil.which(command[0]) is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{what} reaches no registry on this host")


def check_answer(client: Client, image: str, port: int, words: str) -> None:
    """Run an image, and wait until it answers a request; where it has a health check, until that says so, too."""
    client("run", "-d", "--name", "answering", image, timeout=300).ok()
    try:
        address = client("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "answering").ok().line
        url = f"http://{address}:{port}/"

        def answered() -> bool:
            command = ["curl", "-s", "--noproxy", "*", "--max-time", "5", url]
            return words in subprocess.run(command, capture_output=True, text=True, check=False).stdout

        wait_until(answered, 60, f"an answer of {image}")
        health = "{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}"
        wait_until(lambda: client("inspect", "-f", health, "answering").ok().line == "healthy", 60, f"{image} healthy")
    finally:
        client("rm", "-f", "answering")
