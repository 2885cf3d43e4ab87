"""What `docker buildx history` shows of builds beside their record: attachments by the engine's content service."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from tests.clients.test_buildx_build import BASE, BUILDX, Project
from tests.clients.test_buildx_build import project as any_project

__all__ = ["any_project"]

pytestmark = pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)")


@pytest.fixture
def project(any_project: Project) -> Project:
    any_project.needs("history")
    return any_project


def reference(project: Project) -> str:
    """The last build's."""
    listed = project.docker("buildx", "history", "ls", "--format", "json").ok().out
    return str(json.loads(listed.splitlines()[0])["ref"]).rpartition("/")[2]


def attachment(project: Project, *arguments: str) -> str:
    return project.docker("buildx", "history", "inspect", "attachment", *arguments).ok().out


def test_attachments_are_shown(project: Project) -> None:
    project.write(f"FROM {BASE}\nARG WHO\nCOPY file /\nRUN echo $WHO > /who\n", file="1")
    project.build("-t", "attached", "--build-arg", "WHO=me", "--label", "a=b").ok()
    build = reference(project)
    shown = json.loads(project.docker("buildx", "history", "inspect", build, "--format", "json").ok().out)
    assert [one["Type"] for one in shown["Attachments"]] == [
        "application/vnd.oci.image.manifest.v1+json",
        "https://slsa.dev/provenance/v1",
    ]
    assert {one["Name"]: one["Value"] for one in shown["BuildArgs"]} == {"WHO": "me"}
    assert {one["Name"]: one["Value"] for one in shown["Labels"]} == {"a": "b"}
    assert any("busybox" in one["URI"] for one in shown["Materials"])
    provenance = json.loads(attachment(project, build, "--type", "provenance"))
    assert provenance["buildDefinition"]["externalParameters"]["request"]["args"]["build-arg:WHO"] == "me"
    manifest = json.loads(attachment(project, build, "--type", "manifest"))
    assert len(manifest["layers"]) >= 3
    # What it came to is known when the image is gone, too; what is in the image store by its digest.
    config = manifest["config"]["digest"]
    assert json.loads(attachment(project, build, config))["config"]["Labels"]["a"] == "b"
    project.docker("rmi", "attached").ok()
    assert json.loads(attachment(project, build, "--type", "manifest")) == manifest
    gone = project.docker("buildx", "history", "inspect", "attachment", build, config)
    assert gone.status == 1
    assert "not found" in gone.err


def test_a_build_that_failed_shows_its_lines_and_its_log(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN echo said before && exit 3\n")
    assert project.build().status == 1
    shown = project.docker("buildx", "history", "inspect", reference(project)).ok().out
    assert "Error:" in shown
    assert "exit code: 3" in shown
    assert "said before" in shown
    assert "   2 | >>> RUN echo said before" in shown


def test_a_build_is_exported_with_its_log(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN echo said by a step\n")
    project.build("--no-cache", "-t", "exported").ok()
    archive = project.root / "build.dockerbuild"
    project.docker("buildx", "history", "export", "-o", str(archive), reference(project)).ok()
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as opened:
        blobs = {one.name: opened.extractfile(one).read() for one in opened if one.isreg()}  # type: ignore[union-attr]
    (listed,) = json.loads(blobs["index.json"])["manifests"]
    manifest = json.loads(blobs["blobs/sha256/" + listed["digest"].removeprefix("sha256:")])
    by_type = {one["mediaType"]: one["digest"] for one in manifest["layers"]}
    log = blobs["blobs/sha256/" + by_type["application/vnd.buildkit.status.v0"].removeprefix("sha256:")]
    assert b"said by a step\n" in log
    assert "application/vnd.in-toto+json" in by_type


def test_attachments_are_forgotten_with_their_build(project: Project) -> None:
    project.write("FROM scratch\nCOPY Dockerfile /\n")
    project.build("-t", "forgotten").ok()
    build = reference(project)
    shown = json.loads(project.docker("buildx", "history", "inspect", build, "--format", "json").ok().out)
    (provenance,) = (one["Digest"] for one in shown["Attachments"] if "slsa" in one["Type"])
    project.docker("buildx", "history", "rm", build).ok()
    project.write("FROM scratch\nCOPY Dockerfile /again\n")
    project.build().ok()
    gone = project.docker("buildx", "history", "inspect", "attachment", reference(project), provenance)
    assert "not found" in gone.err


def test_builds_are_filtered(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN true\n")
    project.build("-t", "filtered").ok()
    built = reference(project)
    project.write(f"FROM {BASE}\nRUN false\n")
    assert project.build("-t", "filtered").status == 1
    failed = reference(project)

    def listed(*filters: str) -> set[str]:
        given = [word for one in filters for word in ("--filter", one)]
        lines = project.docker("buildx", "history", "ls", "--format", "json", *given).ok().out.splitlines()
        return {str(json.loads(line)["ref"]).rpartition("/")[2] for line in lines} & {built, failed}

    if "--filter" not in project.docker("buildx", "history", "ls", "--help").ok().out:
        pytest.skip("this buildx has no filters of the history")
    assert listed() == {built, failed}
    assert listed("status=error") == {failed}
    assert listed("status=completed", "startedAt>1h") == {built}
    assert listed(f"ref={failed}") == {failed}
    assert listed("startedAt<1h") == set()


def test_a_build_has_its_trace(project: Project) -> None:
    if "trace" not in project.docker("buildx", "history", "--help").ok().out:
        pytest.skip("this buildx has no history trace")
    project.write(f"FROM {BASE}\nRUN echo traced\nRUN false\n")
    assert project.build("--no-cache").status == 1
    build = reference(project)
    shown = project.docker("buildx", "history", "trace", build).ok().out
    (trace,) = json.loads(shown)["data"]
    spans = {one["operationName"]: one for one in trace["spans"]}
    root = spans["build"]
    step, failed = (next(spans[name] for name in spans if text in name) for text in ("RUN echo traced", "RUN false"))
    for one in (step, failed):
        (above,) = one["references"]
        assert (above["traceID"], above["spanID"]) == (root["traceID"], root["spanID"])
        assert root["startTime"] <= one["startTime"] <= root["startTime"] + root["duration"]
        assert one["duration"] > 0
    assert {process["serviceName"] for process in trace["processes"].values()} == {"darsed"}
    assert {"key": "error", "type": "bool", "value": True} in failed["tags"]
    assert {"key": "error", "type": "bool", "value": True} not in step["tags"]
