"""`build` of a service as the flags of `darse build`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.cli.commands.compose.building import BuildSettings, build_graph, build_words, parse_build
from darse.compose.errors import ComposeError
from darse.compose.loading.loader import LoadSettings
from darse.compose.model.project import Project
from darse.compose.project import ProjectFiles, ProjectOptions

EVERYTHING = """
name: shop
services:
  web:
    image: web:1
    platform: linux/amd64
    build:
      context: app
      dockerfile: docker/Dockerfile
      target: final
      args: [VERSION=2, FROM_ENVIRONMENT, UNSET]
      labels: {team: front}
      tags: [web:latest, "registry.example/web"]
      cache_from: [cache:1, "type=local,src=cache"]
      cache_to: ["type=local,dest=cache"]
      no_cache: true
      pull: true
      network: host
      shm_size: 64m
      extra_hosts: {away: 10.0.0.1}
      ulimits: {nofile: {soft: 10, hard: 20}, nproc: 30}
      platforms: [linux/amd64, linux/arm64]
      privileged: true
      entitlements: [network.host]
      provenance: mode=max
      ssh: [default]
      secrets: [token, {source: key, target: other}]
      additional_contexts: {base: "service:base", more: "./more"}
  base:
    build: {context: base, dockerfile_inline: "FROM scratch\\n"}
    profiles: [never]
secrets:
  token: {environment: TOKEN}
  key: {file: key.txt}
"""


def loaded(directory: Path, text: str, **environment: str) -> Project:
    for name in ("app", "base", "more"):
        (directory / name).mkdir(exist_ok=True)
    (directory / "compose.yaml").write_text(text)
    options = ProjectOptions(directory=str(directory), files=[str(directory / "compose.yaml")])
    return ProjectFiles(options, environment, lambda _: None).project([], LoadSettings())


def test_all_attributes_reach_the_build(tmp_path: Path) -> None:
    text = EVERYTHING.replace("profiles: [never]", "")
    project = loaded(tmp_path, text, FROM_ENVIRONMENT="here", TOKEN="secret")
    files = tmp_path / "files"
    options, arguments = parse_build(build_words(project, "web", BuildSettings(), str(files)))
    assert arguments == [str(tmp_path / "app")]
    assert options.tag == ["web:1", "web:latest", "registry.example/web"]
    assert options.label == [
        "team=front",
        "com.docker.compose.project=shop",
        "com.docker.compose.service=web",
        "com.docker.compose.version=2.40.3",
    ]
    assert options.build_arg == ["FROM_ENVIRONMENT=here", "VERSION=2"] or set(options.build_arg) == {
        "VERSION=2",
        "FROM_ENVIRONMENT=here",
    }
    assert set(options.build_context) == {"base=docker-image://shop-base", f"more={tmp_path}/more"}
    assert options.secret == [f"id=token,src={files}/secret-token", f"id=other,src={tmp_path}/key.txt"]
    assert (files / "secret-token").read_text() == "secret"
    assert os.stat(files / "secret-token").st_mode & 0o777 == 0o600
    assert options.cache_from == ["type=registry,ref=cache:1", "type=local,src=cache"]
    assert options.cache_to == ["type=local,dest=cache"]
    assert (options.no_cache, options.pull, options.network, options.target) == (True, True, "host", "final")
    assert (options.shm_size, options.add_host) == (str(64 << 20), ["away:10.0.0.1"])
    assert sorted(options.ulimit) == ["nofile=10:20", "nproc=30"]
    assert options.platform == ["linux/amd64"]
    assert options.allow == ["network.host", "security.insecure"]
    assert (options.provenance, options.ssh) == ("mode=max", ["default"])
    assert options.file == str(tmp_path / "app" / "docker" / "Dockerfile")


def test_flags_of_the_command_are_added(tmp_path: Path) -> None:
    project = loaded(tmp_path, EVERYTHING.replace("profiles: [never]", ""), TOKEN="")
    settings = BuildSettings(arguments=["VERSION=3"], ssh=["id=/key"], memory="1g", push=True, one_platform=False)
    options, _ = parse_build(build_words(project, "web", settings, str(tmp_path / "files")))
    assert options.build_arg[-1] == "VERSION=3"
    assert (options.memory, options.push, options.ssh) == ("1g", True, ["default", "id=/key"])
    assert options.platform == ["linux/amd64", "linux/arm64"]
    options, arguments = parse_build(build_words(project, "base", settings, str(tmp_path / "files")))
    assert (options.tag, options.push, arguments) == (["shop-base"], False, [str(tmp_path / "base")])
    assert Path(options.file).read_text() == "FROM scratch\n"


def test_builds_come_in_the_order_in_which_they_need_each_other(tmp_path: Path) -> None:
    text = """
    services:
      web: {build: {context: app, additional_contexts: {base: "service:base"}}, depends_on: [api]}
      api: {build: app, depends_on: [store]}
      store: {image: postgres}
      base: {build: base}
    """
    project = loaded(tmp_path, text)
    assert build_graph(project, ["web"]) == {"web": {"base"}, "base": set()}
    assert build_graph(project, ["web", "api"]) == {"web": {"base", "api"}, "api": set(), "base": set()}


def test_images_built_from_each_other_are_refused(tmp_path: Path) -> None:
    text = """
    services:
      one: {build: {context: app, additional_contexts: {base: "service:two"}}}
      two: {build: {context: app, additional_contexts: {base: "service:one"}}}
    """
    project = loaded(tmp_path, text)
    with pytest.raises(ComposeError, match=r"services\.one: its image is built from itself"):
        build_graph(project, ["one"])


def test_a_secret_of_a_variable_that_is_not_set(tmp_path: Path) -> None:
    project = loaded(tmp_path, EVERYTHING.replace("profiles: [never]", ""))
    with pytest.raises(ComposeError, match='"TOKEN" required by build secret "token" is not set'):
        build_words(project, "web", BuildSettings(), str(tmp_path / "files"))
