"""Compose files of git repositories and of registries, and `publish`: as docker compose v2 has them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.compose import NEWEST, OURS, THEIRS, Shop, needs_compose
from tests.support.engine import BUSYBOX
from tests.support.registry import Certificates, Registry, needs_registry
from tests.support.waiting import wait_until

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

_MAIN = f"""
services:
  web:
    image: "{BUSYBOX}:${{TAG:-latest}}"
    volumes: ["./data:/data"]
    env_file: web.env
    extends:
      file: "parts/base.yaml"
      service: base
"""
_BASE = "services:\n  base:\n    command: sleep 1000\n    volumes: ['./base:/base']\n"
_PART = f"services:\n  part:\n    image: {BUSYBOX}\n    volumes: ['./part:/part']\n"


def _fill(directory: Path) -> None:
    (directory / "parts").mkdir(parents=True)
    (directory / "compose.yaml").write_text(_MAIN)
    (directory / "web.env").write_text("COLOUR=blue\n")
    (directory / "parts/base.yaml").write_text(_BASE)
    (directory / "parts/compose.yml").write_text(_PART)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A repository behind git's own server, with a tag `v1` and a branch whose name ends like another's."""
    work = tmp_path / "served" / "shop.git"
    _fill(work)
    git = ("git", "-C", str(work), "-c", "user.email=a@example.com", "-c", "user.name=a")
    for words in (
        ("init", "-q", "-b", "main"),
        ("add", "-A"),
        ("commit", "-q", "-m", "shop"),
        ("tag", "v1"),
        ("checkout", "-q", "-b", "feature/main"),
        ("commit", "-q", "--allow-empty", "-m", "other"),
        ("checkout", "-q", "main"),
    ):
        subprocess.run([*git, *words], check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = str(work.parent)
    words = ["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={served}", "--listen=127.0.0.1"]
    server = subprocess.Popen([*words, f"--port={port}", served], stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, what="git's server")
    yield f"git://127.0.0.1:{port}/shop.git"
    server.terminate()
    server.wait()


def _same(shop: Shop, *arguments: str) -> str:
    """What both tools print on standard output; ours where theirs is not installed."""
    ours = shop.run(OURS, *arguments)
    if needs_compose.args[0]:
        return ours.stdout
    theirs = shop.run(THEIRS, *arguments)
    assert ours.returncode == theirs.returncode, ours.stderr + theirs.stderr
    assert ours.stdout.rstrip() == theirs.stdout.rstrip()
    return ours.stdout


@needs_git
def test_files_of_a_repository(shop: Shop, repository: str) -> None:
    found = _same(shop, "-f", repository, "config")
    assert "COLOUR: blue" in found
    for part in ("#v1:parts", "#v1:parts/compose.yml", "#:parts"):
        assert "target: /part" in _same(shop, "-f", repository + part, "config")
    # `main` is not `feature/main`, which docker compose 2.40 takes.
    at_tag = shop(OURS, "-f", f"{repository}#v1:parts", "config")
    assert shop(OURS, "-f", f"{repository}#main:parts", "config") == at_tag
    assert shop(OURS, "-f", f"{repository}#feature/main:parts", "config") != at_tag
    shop.write(f"""
        include: ["{repository}#v1:parts"]
        services:
          web: {{image: x, extends: {{file: "{repository}#v1:parts/base.yaml", service: base}}}}
    """)
    found = _same(shop, "config", "--format", "json")
    assert {"part", "web"} == set(json.loads(found)["services"])
    # The checkout is docker compose's own: paths of bind mounts, and so the hashes, are the same.
    assert _same(shop, "config", "--hash", "*").startswith("part ")


@needs_git
@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("{}#nowhere", "does not contain ref"),
        ("{}x", "failed to access repository"),
        ("{}#v1:../outside", "path traversal"),
        ("{}#v1:nothing", "not found"),
        ("{}#--upload-pack=touch /tmp/x", "no reference"),
    ],
)
def test_a_repository_that_has_not_what_is_asked_for(
    shop: Shop, repository: str, reference: str, expected: str
) -> None:
    done = shop.run(OURS, "-f", reference.format(repository), "config")
    assert (done.returncode, done.stdout) == (1, "")
    assert expected in done.stderr


@needs_git
def test_a_link_out_of_a_repository_is_not_followed(shop: Shop, repository: str, tmp_path: Path) -> None:
    work = tmp_path / "served" / "shop.git"
    (work / "out").symlink_to("/etc")
    git = ("git", "-C", str(work), "-c", "user.email=a@example.com", "-c", "user.name=a")
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "out"], check=True)
    done = shop.run(OURS, "-f", f"{repository}#main:out/hostname", "config")
    assert done.returncode == 1
    assert "path traversal" in done.stderr


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    certificates = Certificates.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with Registry(certificates=certificates) as registry:
        yield registry


@needs_registry
@pytest.mark.parametrize("version", ["", "1.0", "1.1"])
def test_what_is_published_is_read_by_both(shop: Shop, registry: Registry, version: str) -> None:
    _fill(shop.directory / "project")
    name = f"{registry.address}/team/shop"
    flags = ("--oci-version", version) if version else ()
    words = ("--project-directory", "project", "-f", "project/compose.yaml", "publish", *flags, "--with-env", "-y")
    shop(OURS, *words, f"{name}:1")
    found = _same(shop, "-f", f"oci://{name}:1", "config")
    assert "COLOUR: blue" in found
    assert "target: /base" in found
    if not needs_compose.args[0]:
        # The same layers, under the same names.
        shop(THEIRS, *words, f"{name}:2")
        assert _same(shop, "-f", f"oci://{name}:2", "config").count("target: /base") == 1
        manifests = [registry.get(f"team/shop/manifests/{tag}") for tag in "12"]
        ours, theirs = ([one["digest"] for one in found["layers"]] for found in manifests)
        assert ours == theirs


@needs_registry
@pytest.mark.parametrize("tool", [OURS, NEWEST], ids=["ours", "newest"])
def test_an_application_has_its_images_by_digest(shop: Shop, registry: Registry, tool: list[str]) -> None:
    """`--app`: the images are in the project's repository, and an index that refers to the project names them."""
    if not tool[0]:
        pytest.skip("the newest docker compose is not installed (make clients)")
    with Registry() as plain:
        image = f"{plain.address}/team/web:1"
        shop.engine.docker("tag", BUSYBOX, image).ok()
        shop.engine.docker("push", image).ok()
        digest = next(
            one for one in shop.engine.api("GET", f"/images/{image}/json").json()["RepoDigests"] if "team/web" in one
        ).partition("@")[2]
        shop.write(f"services: {{a: {{image: '{image}'}}, b: {{image: '{image}'}}}}")
        repository = f"{plain.address}/team/shop"
        flags = ("--insecure-registry",) if tool is NEWEST else ()
        shop(tool, "publish", "-y", "--app", *flags, f"{repository}:1")
        manifest = plain.get("team/shop/manifests/1")
        assert [one["annotations"]["com.docker.compose.file"] for one in manifest["layers"]] == [
            "compose.yaml",
            "image-digests.yaml",
        ]
        assert plain.get(f"team/shop/manifests/{digest}")["config"]
        shop.engine.docker("rmi", image).ok()
        if tool is OURS:
            shown = shop(OURS, "-f", f"oci://{repository}:1", "config", "--images")
            assert shown == f"{image}@{digest}\n" * 2
        # The image is where the project is, whatever becomes of its own repository.
        assert shop.engine.docker("pull", f"{repository}@{digest}").ok()


@needs_registry
def test_secrets_in_published_files_are_asked_about(shop: Shop, registry: Registry) -> None:
    token = "ghp_" + "0123456789abcdefghij" * 2
    shop.write(f"services: {{a: {{image: x, labels: {{of: {token}}}}}}}")
    done = shop.run(OURS, "publish", f"{registry.address}/team/shop:1")
    assert "GitHub token\ncompose.yaml:1: ghp_…" in done.stdout
    assert "Are you ok to publish these sensitive data?" in done.stdout
    assert token not in done.stdout
    assert registry.requests() == []


@needs_registry
def test_what_is_not_published(shop: Shop, registry: Registry) -> None:
    name = f"{registry.address}/team/shop:1"
    for text, expected in (
        ("services: {a: {image: x, environment: {A: 1}}}", 'service "a" has environment variable(s) declared.'),
        ("services: {a: {build: .}}", "it only contains a build section"),
        ("include: [other.yaml]\nservices: {a: {image: x}}", "cannot publish compose file with local includes"),
    ):
        (shop.directory / "other.yaml").write_text("services: {b: {image: x}}")
        (shop.directory / "compose.yaml").write_text(text)
        done = shop.run(OURS, "publish", name)
        assert (done.returncode, expected in done.stderr) == (1, True), done.stderr
    (shop.directory / "compose.yaml").write_text("services: {a: {image: x, volumes: ['./x:/y']}}")
    assert "Are you ok to publish these bind mount declarations?" in shop(OURS, "publish", name)
    assert "published" in shop.run(OURS, "publish", "--dry-run", "-y", name).stderr
    assert registry.requests() == []
    done = shop.run(OURS, "-f", f"oci://{registry.address}/none:1", "config")
    assert (done.returncode, "failed to pull OCI resource" in done.stderr) == (1, True)
