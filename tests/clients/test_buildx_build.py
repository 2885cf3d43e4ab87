"""`docker build` with the buildx plugin, `docker buildx build`, unmodified, on our socket: BuildKit's door.

`make clients` builds the plugin, where Go is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.clients import found
from tests.support.engine import Done, Engine
from tests.support.registry import Registry, needs_registry
from tests.support.ssh import key, needs_ssh, with_ssh_add

__all__ = ["key"]

BUILDX, COMPOSE = found("docker-buildx"), found("docker-compose")
pytestmark = pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)")
BASE = "builtin/busybox"


class Project:
    """A directory with a Dockerfile, and docker's client with the plugin."""

    def __init__(self, engine: Engine, root: Path, plugin: str | None = None) -> None:
        self.engine = engine
        self.root = root
        self.context = root / "context"
        self.context.mkdir()
        plugins = root / "config" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-buildx").symlink_to(plugin or str(BUILDX))
        self.environment = {"DOCKER_CONFIG": str(root / "config")}

    def write(self, dockerfile: str, **files: str) -> None:
        (self.context / "Dockerfile").write_text(dockerfile)
        for name, content in files.items():
            (self.context / name).write_text(content)

    def docker(self, *arguments: str, **options: Any) -> Done:
        return self.engine.docker(*arguments, env=self.environment, **options)

    def build(self, *arguments: str, **options: Any) -> Done:
        return self.docker("build", "--progress", "plain", *arguments, str(self.context), **options)

    def needs(self, command: str) -> None:
        """Skip the test where the plugin does not know a command."""
        if command not in self.docker("buildx", "--help").ok().out:
            pytest.skip(f"this buildx has no {command}")

    def run(self, image: str, *command: str) -> str:
        return self.docker("run", "--rm", image, *command).ok().out


HEAVY = [pytest.param(name, marks=pytest.mark.heavy) for name in ("docker-buildx-newest", "docker-buildx-old")]


@pytest.fixture(params=["docker-buildx", *HEAVY])
def project(engine: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    plugin = found(request.param)
    if plugin is None:
        pytest.skip(f"{request.param} is not there (make clients)")
    return Project(engine, tmp_path, plugin)


def test_an_image_is_built_named_and_run(project: Project) -> None:
    project.write(f"# syntax=docker/dockerfile:1.7\nFROM {BASE}\nCOPY hello /\nRUN cat /hello > /copy\n", hello="hi\n")
    identifier, metadata = project.root / "id", project.root / "metadata"
    built = project.build("-t", "app", "--iidfile", str(identifier), "--metadata-file", str(metadata)).ok()
    assert "using docker driver" in built.err
    assert project.run("app", "cat", "/copy") == "hi\n"
    told = json.loads(metadata.read_text())
    # Newer clients name images by their manifests' digests.
    assert identifier.read_text() == told.get("containerimage.config.digest", told["containerimage.digest"])
    inspect = ("image", "inspect", "--format", "{{.Id}}")
    assert project.docker(*inspect, "app").ok().line == project.docker(*inspect, identifier.read_text()).ok().line
    assert told["image.name"] == "docker.io/library/app:latest"
    again = project.build("-t", "app").ok()
    assert again.err.count(" CACHED") >= 2


def test_what_is_ignored_is_not_sent_and_links_are_kept(project: Project) -> None:
    project.write(f"FROM {BASE}\nCOPY . /all\nRUN cd /all && ls -A && cat link\n", kept="1", left="1")
    (project.context / ".dockerignore").write_text("left\n.dockerignore\nDockerfile\n")
    (project.context / "link").symlink_to("kept")
    (project.context / "deep" / "er").mkdir(parents=True)
    (project.context / "deep" / "er" / "läßt grüßen").write_text("x" * 3_000_000)
    (project.context / "run").write_text("#!/bin/sh\n")
    (project.context / "run").chmod(0o4755)
    project.build("-t", "app").ok()
    listed = project.run("app", "sh", "-c", "cd /all && ls -A && stat -c '%a %u %s' run deep/er/*")
    assert listed.split() == [*"deep kept link run 4755 0 10 644 0 3000000".split()]


def test_a_step_that_fails_shows_its_lines(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN echo before && \\\n    exit 7\n")
    failed = project.build()
    assert failed.status == 1
    assert "Dockerfile:2" in failed.err
    assert "   2 | >>> RUN echo before && \\" in failed.err
    assert 'process "/bin/sh -c echo before &&     exit 7" did not complete successfully: exit code: 7' in failed.err


def test_a_dockerfile_that_is_wrong_shows_its_lines(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUNN true\n")
    failed = project.build()
    assert failed.status == 1
    assert "   2 | >>> RUNN true" in failed.err
    assert "unknown instruction: RUNN" in failed.err


def test_secrets_arguments_and_targets(project: Project) -> None:
    project.write(
        f"FROM {BASE} AS one\nARG who\nRUN echo $who > /who\n"
        "RUN --mount=type=secret,id=key,required cp /run/secrets/key /key\n"
        "FROM one\nRUN false\n",
        key="confidential",
    )
    secret = f"id=key,src={project.context / 'key'}"
    project.build("--target", "one", "--build-arg", "who=me", "--secret", secret, "-t", "app").ok()
    assert project.run("app", "cat", "/who", "/key") == "me\nconfidential"
    missing = project.build("--target", "one", "--no-cache")
    assert missing.status == 1
    assert "secret key: not found" in missing.err


def test_outputs_of_the_client(project: Project) -> None:
    made = "RUN mkdir /d && echo 1 > /d/file && ln -s file /d/link\nFROM scratch\nCOPY --from=made /d /\n"
    project.write(f"FROM {BASE} AS made\n{made}")
    out, archive = project.root / "out", project.root / "out.tar"
    both = ("-o", f"type=local,dest={out}", "-o", f"type=tar,dest={archive}")
    project.build(*both).ok()
    assert ((out / "file").read_text(), (out / "link").readlink()) == ("1\n", Path("file"))
    with tarfile.open(archive) as opened:
        assert sorted(opened.getnames()) == ["file", "link"]
    for kind in ("oci", "docker"):
        image = project.root / f"{kind}.tar"
        project.build("-t", f"saved:{kind}", "-o", f"type={kind},dest={image}").ok()
        assert project.docker("image", "inspect", f"saved:{kind}").status == 1
        assert f"saved:{kind}" in project.docker("load", "-i", str(image)).ok().out
        project.docker("rmi", f"saved:{kind}").ok()


def test_outputs_of_several_platforms(project: Project) -> None:
    project.write(
        "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /only\nCOPY both d/$TARGETARCH\n",
        amd64="1",
        arm64="2",
        both="b",
    )
    out, archive = project.root / "out", project.root / "out.tar"
    platforms = ("--platform", "linux/amd64,linux/arm64")
    project.build(*platforms, "-o", f"type=local,dest={out}", "-o", f"type=tar,dest={archive}").ok()
    expected = {
        f"linux_{one}/{path}": content
        for one, only in (("amd64", "1"), ("arm64", "2"))
        for path, content in (("only", only), (f"d/{one}", "b"))
    }
    assert {str(one.relative_to(out)): one.read_text() for one in out.rglob("*") if one.is_file()} == expected
    with tarfile.open(archive) as opened:
        assert {one.name: opened.extractfile(one).read().decode() for one in opened if one.isreg()} == expected  # type: ignore[union-attr]
    together = f"type=local,dest={project.root / 'together'},platform-split=false"
    refused = project.build(*platforms, "-o", together)
    assert refused.status == 1
    assert re.search(
        "cannot overwrite only from linux/a.*64 with linux/a.*64 when split option is disabled", refused.err
    )
    project.write("FROM scratch\nARG TARGETARCH\nCOPY both d/$TARGETARCH\n")
    project.build(*platforms, "-o", together).ok()
    assert sorted(one.name for one in (project.root / "together" / "d").iterdir()) == ["amd64", "arm64"]


def test_platforms_and_provenance_make_an_index(project: Project) -> None:
    project.write("FROM scratch\nCOPY file /\n", file="1")
    metadata = project.root / "metadata"
    both = ("--platform", "linux/amd64,linux/arm64", "--metadata-file", str(metadata))
    project.build(*both, "-t", "both").ok()
    assert json.loads(metadata.read_text())["containerimage.descriptor"]["mediaType"].endswith("image.index.v1+json")
    project.build("--provenance", "mode=max", "--metadata-file", str(metadata), "-t", "attested").ok()
    assert json.loads(metadata.read_text())["containerimage.descriptor"]["mediaType"].endswith("image.index.v1+json")


def test_contexts_of_standard_input_and_named_ones(project: Project) -> None:
    project.write("", file="of the context\n")
    other = project.root / "other"
    other.mkdir()
    (other / "file").write_text("of the other\n")
    dockerfile = f"FROM {BASE}\nCOPY file /one\nCOPY --from=more file /two\n"
    project.build("-t", "app", "-f", "-", "--build-context", f"more={other}", input=dockerfile).ok()
    assert project.run("app", "cat", "/one", "/two") == "of the context\nof the other\n"
    project.docker("build", "-t", "app", "-", input=f"FROM {BASE}\nRUN echo alone > /one\n").ok()
    assert project.run("app", "cat", "/one") == "alone\n"
    project.write(f"FROM {BASE}\nCOPY file /one\n")
    packed = subprocess.run(["tar", "-C", project.context, "-c", "."], capture_output=True, check=True).stdout
    project.docker("build", "-t", "app", "-", input=packed).ok()
    assert project.run("app", "cat", "/one") == "of the context\n"


def test_questions_about_a_dockerfile(project: Project) -> None:
    project.write(f"FROM {BASE} as one\n# who it is for\nARG who=you\nRUN echo $who\n\nFROM one AS two\n")
    checked = project.build("--call", "check")
    assert checked.status == 1
    assert "WARNING: FromAsCasing" in checked.out
    assert "   1 | >>> FROM" in checked.out
    assert "who" in project.build("--call", "outline", "--target", "one").ok().out
    targets = json.loads(project.build("--call", "targets,format=json").ok().out)
    assert [one["name"] for one in targets["targets"]] == ["one", "two"]


def test_progress_of_stages_beside_each_other_overlaps(project: Project) -> None:
    """Each stage waits for what only the other does."""
    key = str(time.time_ns())
    stages = [
        f"FROM {BASE} AS {name}\nRUN --mount=type=cache,id=both,target=/both touch /both/{name}{key} && "
        f"until test -e /both/{other}{key}; do sleep 0.05; done\n"
        for name, other in (("one", "two"), ("two", "one"))
    ]
    project.write("".join(stages) + f"FROM {BASE}\nRUN --mount=from=one,target=/1 --mount=from=two,target=/2 true\n")
    shown = project.docker("build", "--progress", "rawjson", str(project.context), timeout=60).ok().err
    times: dict[str, tuple[str, str]] = {}
    for line in shown.splitlines():
        for vertex in json.loads(line).get("vertexes") or ():
            if vertex.get("completed") and "until" in vertex["name"]:
                times[vertex["name"]] = (vertex["started"], vertex["completed"])
    (one, two) = times.values()
    assert max(one[0], two[0]) < min(one[1], two[1])


def records_in_use(engine: Engine) -> list[str]:
    return [one["ID"] for one in engine.api("GET", "/system/df?type=build-cache").json()["BuildCache"] if one["InUse"]]


def test_an_engine_that_stops_ends_its_builds(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    project = Project(new_engine(), tmp_path)
    project.write(f"FROM {BASE}\nRUN echo begun; sleep 1000\n")
    command = [project.engine.docker.program, "build", "--progress", "plain", str(project.context)]
    environment = {**project.engine.docker.environment, **project.environment}
    client = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert client.stdout is not None
    assert any(line.split()[-1] == "begun" for line in client.stdout if line.strip())
    begun = time.monotonic()
    assert project.engine.stop() == 0
    assert time.monotonic() - begun < 8
    client.communicate(timeout=30)
    assert client.returncode != 0


@needs_ssh
def test_agents_are_forwarded(project: Project, key: Path) -> None:
    with_ssh_add(project.context, f"FROM {BASE}\nCOPY ssh /\nRUN --mount=type=ssh ssh-add -L\n")
    built = project.build("--no-cache", "--ssh", f"default={key}").ok()
    assert "ssh-ed25519 AAAA" in built.err
    project.write(f"FROM {BASE}\nRUN --mount=type=ssh,required=true true\n")
    assert 'no SSH key "default" forwarded from the client' in project.build().err


def test_steps_may_do_what_the_client_allows(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN --network=host ls /sys/class/net\n")
    refused = project.build()
    assert refused.status == 1
    assert "network.host" in refused.err
    project.build("--allow", "network.host").ok()
    # What is in the cache now is not for those who are not allowed it.
    assert "network.host" in project.build("--network", "none").err
    project.write(f"FROM {BASE}\nRUN ls /sys/class/net\n")
    project.build("--network", "none").ok()


@pytest.mark.skipif(COMPOSE is None, reason="docker compose is not installed (make clients)")
def test_compose_builds(project: Project) -> None:
    (project.root / "config" / "cli-plugins" / "docker-compose").symlink_to(str(COMPOSE))
    project.write(f"FROM {BASE}\nARG what\nRUN echo $what > /what\nCMD cat /what\n")
    services = "".join(
        f"  {name}:\n    image: composed-{name}\n    build: {{context: context, args: {{what: {name}}}}}\n"
        for name in ("one", "two")
    )
    (project.root / "compose.yaml").write_text(f"services:\n{services}")
    project.docker("compose", "build", cwd=project.root).ok()
    assert [project.run(f"composed-{name}") for name in ("one", "two")] == ["one\n", "two\n"]
    project.docker("buildx", "bake", "one", "--set", "one.args.what=baked", cwd=project.root).ok()
    assert project.run("composed-one") == "baked\n"


def test_the_history_has_builds(project: Project) -> None:
    project.needs("history")
    project.write(f"FROM {BASE}\nCOPY file /\nRUN echo said by a step\n", file="1")
    metadata = project.root / "metadata"
    project.build("-t", "remembered", "--metadata-file", str(metadata)).ok()
    reference = json.loads(metadata.read_text())["buildx.build.ref"].rpartition("/")[2]
    listed = project.docker("buildx", "history", "ls", "--format", "json").ok().out
    (found,) = (one for one in map(json.loads, listed.splitlines()) if one["ref"].endswith(reference))
    assert found["status"] == "Completed"
    shown = project.docker("buildx", "history", "inspect", reference).ok().out
    assert "Duration:" in shown
    logs = project.docker("buildx", "history", "logs", reference).ok().err
    assert "said by a step" in logs
    assert "DONE" in logs
    count = len(listed.splitlines())
    project.build("--call", "outline").ok()
    again = project.docker("buildx", "history", "ls", "--format", "json").ok().out
    assert len(again.splitlines()) == count
    project.docker("buildx", "history", "rm", reference).ok()
    assert reference not in project.docker("buildx", "history", "ls", "--no-trunc").ok().out


@needs_registry
def test_images_and_caches_are_pushed(project: Project) -> None:
    with Registry() as registry:
        name = f"{registry.address}/pushed/app:1"
        cache = f"type=registry,ref={registry.address}/pushed/cache"
        project.write(f"FROM {BASE}\nRUN cat /proc/sys/kernel/random/uuid > /now\n")
        project.build("-t", name, "--push", "--cache-to", f"{cache},mode=max").ok()
        now = project.run(name, "cat", "/now")
        project.docker("rmi", name).ok()
        pruned = project.docker("builder", "prune", "-af").ok().out
        assert "Total:" in pruned
        assert "Total:" in project.docker("buildx", "du").ok().out
        project.build("-t", "app", "--cache-from", cache).ok()
        assert project.run("app", "cat", "/now") == now


def test_a_cache_in_a_directory_of_the_client(project: Project, new_engine: Callable[..., Engine]) -> None:
    """It goes from one engine to another; layers come only when they are needed."""
    directory = project.root / "cache"
    project.write(
        f"FROM {BASE}\nCOPY file /file\nRUN cat /proc/sys/kernel/random/uuid > /now\nRUN echo last > /last\n", file="1"
    )
    project.build("-t", "app", "--cache-to", f"type=local,dest={directory},mode=max").ok()
    now = project.run("app", "cat", "/now")
    assert (directory / "index.json").exists()
    project.docker("rmi", "app").ok()
    project.docker("builder", "prune", "-af").ok()
    again = project.build("-t", "app", "--cache-from", f"type=local,src={directory}").ok()
    assert "CACHED" in again.err
    assert project.run("app", "cat", "/now") == now
    # Nothing there, and something that is no cache, are no failure of the build.
    project.build("--cache-from", f"type=local,src={project.root / 'none'}").ok()
    for blob in (directory / "blobs" / "sha256").iterdir():
        blob.chmod(0o600)
        blob.write_bytes(b"damaged")
    project.docker("builder", "prune", "-af").ok()
    project.build("--cache-from", f"type=local,src={directory}").ok()


def test_targets_of_bake_are_contexts_of_others(project: Project) -> None:
    project.write("")
    (project.context / "base.Dockerfile").write_text(
        f"FROM {BASE}\nCOPY file /file\nWORKDIR /made\nRUN cat /proc/sys/kernel/random/uuid > /now\nENV WHO=base\n"
    )
    (project.context / "app.Dockerfile").write_text("FROM base\nRUN echo $WHO >/who\nCOPY --from=base /now /again\n")
    (project.context / "file").write_text("of the base\n")
    described = {
        "target": {
            "base": {"context": str(project.context), "dockerfile": "base.Dockerfile", "tags": ["baked-base"]},
            "app": {
                "context": str(project.context),
                "dockerfile": "app.Dockerfile",
                "contexts": {"base": "target:base"},
                "tags": ["baked-app"],
            },
        }
    }
    (project.root / "docker-bake.json").write_text(json.dumps(described))
    project.docker("buildx", "bake", "base", "app", cwd=project.root).ok()
    assert project.run("baked-app", "cat", "/file", "/who") == "of the base\nbase\n"
    # The base was built once: one second of the clock.
    now = project.run("baked-base", "cat", "/now")
    assert project.run("baked-app", "cat", "/now", "/again") == now * 2
    assert project.run("baked-app", "pwd") == "/made\n"


def test_an_image_of_a_layout_is_a_context(project: Project) -> None:
    layout, archive = project.root / "layout", project.root / "archive.tar"
    project.write(f"FROM {BASE}\nRUN cat /proc/sys/kernel/random/uuid > /now\nENV WHO=layout\n")
    project.build("-t", "inside", "-o", f"type=oci,dest={archive}").ok()
    layout.mkdir()
    subprocess.run(["tar", "-C", layout, "-xf", archive], check=True)
    before = project.docker("image", "ls", "-aq").ok().out
    project.write("FROM base\nRUN echo $WHO > /who\nCOPY --from=base /now /again\n")
    context = ("--build-context", f"base=oci-layout://{layout}:inside")
    project.build("-t", "app", *context).ok()
    assert project.run("app", "cat", "/who") == "layout\n"
    assert project.run("app", "cat", "/now") == project.run("app", "cat", "/again")
    project.docker("rmi", "app").ok()
    assert project.docker("image", "ls", "-aq").ok().out == before
    # What is here is not asked for: the client has it no longer.
    project.docker("load", "-i", str(archive)).ok()
    shutil.rmtree(layout / "blobs")
    project.build("-t", "app", *context).ok()
    assert project.run("app", "cat", "/who") == "layout\n"
    # Another version of the client makes the same on this engine.
    project.docker("rmi", "app", "inside").ok()


@needs_registry
def test_an_image_is_pushed_by_its_digest(project: Project) -> None:
    """As actions do that merge the images of several machines: with a builder that is not of the driver `docker`."""
    project.docker("buildx", "create", "--name", "remote", "--driver", "remote", project.engine.host).ok()
    with Registry() as registry:
        name = f"{registry.address}/pushed/app"
        metadata = project.root / "metadata"
        project.write(f"FROM {BASE}\nRUN cat /proc/sys/kernel/random/uuid > /now\n")
        output = f"type=image,name={name},push-by-digest=true,name-canonical=true,push=true"
        remote = ("--builder", "remote", "-o", output)
        project.build(*remote, "--metadata-file", str(metadata)).ok()
        digest = json.loads(metadata.read_text())["containerimage.digest"]
        assert project.docker("image", "inspect", name).status == 1
        project.docker("buildx", "imagetools", "create", "-t", f"{name}:all", f"{name}@{digest}").ok()
        project.docker("pull", f"{name}@{digest}").ok()
        assert len(project.run(f"{name}@{digest}", "cat", "/now")) == 37
        project.build("-t", f"{name}:1", "--push", "--metadata-file", str(metadata)).ok()
        told = json.loads(metadata.read_text())["containerimage.digest"]
        shown = project.docker("buildx", "imagetools", "inspect", f"{name}:1").ok().out
        assert told in shown
        # buildx asks for provenance where nobody has said that there is to be none.
        assert "attestation-manifest" in shown
        facts = ("buildx", "imagetools", "inspect", "--format", "{{json .Provenance}}", f"{name}:1")
        assert "slsa" in project.docker(*facts).ok().out.lower()
        project.build("-t", f"{name}:2", "--push", "--provenance", "false").ok()
        assert "attestation" not in project.docker("buildx", "imagetools", "inspect", f"{name}:2").ok().out
        refused = project.build(*remote[:3], output.replace(name, f"{name}:1"))
        assert "can't push tagged ref by digest" in refused.err


def test_what_is_not_supported_says_so(project: Project) -> None:
    project.write("FROM scratch\nCOPY Dockerfile /\n")
    refused = project.build("--cache-to", "type=azblob,name=n,account_url=u,secret_access_key=k")
    assert refused.status == 1
    assert "azblob" in refused.err


def test_classic_builds_go_on_without_the_plugin(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo classic > /file\n")
    engine.docker("build", "-t", "classic", str(tmp_path), env={"DOCKER_BUILDKIT": "0"}).ok()
    assert engine.docker("run", "--rm", "classic", "cat", "/file").ok().line == "classic"
