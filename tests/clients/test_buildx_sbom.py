"""`docker buildx build --sbom`: bills of materials by the engine's own scanner, and by one in an image."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import pytest
from tests.clients.test_buildx_build import BASE, BUILDX, Project, project, records_in_use
from tests.support.hub import Hub
from tests.support.registry import Registry, needs_registry

__all__ = ["project"]

pytestmark = pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)")
_NODE = "node_modules/@scope/left-pad/package.json"
# Writes what it was shown as a bill of materials, by BuildKit's protocol.
_SCANNER = """\
#!/bin/sh
set -e
test "$BUILDKIT_SCAN_WORD" = up
! touch "$BUILDKIT_SCAN_SOURCE/written" 2>/dev/null
for tree in "$BUILDKIT_SCAN_SOURCE" "$BUILDKIT_SCAN_SOURCE_EXTRAS"*; do
    test -d "$tree" || continue
    name=$(basename "$tree")
    printf '{"_type":"x","subject":[],"predicateType":"https://spdx.dev/Document","predicate":{"name":"%s of %s"}}' \\
        "$(ls "$tree")" "$name" | tr '\\n' ' ' > "$BUILDKIT_SCAN_DESTINATION/$name.spdx.json"
done
"""


def node_package(project: Project) -> None:
    (project.context / _NODE).parent.mkdir(parents=True)
    (project.context / _NODE).write_text(
        json.dumps({"name": "@scope/left-pad", "version": "1.3.0", "license": "WTFPL"})
    )


def urls(document: dict[str, Any]) -> list[str]:
    return [one["referenceLocator"] for package in document["packages"] for one in package.get("externalRefs", ())]


@needs_registry
def test_imagetools_shows_the_bill_of_a_pushed_image(project: Project) -> None:
    node_package(project)
    project.write(f"FROM {BASE}\nCOPY node_modules /app/node_modules\n")
    with Registry() as registry:
        name = f"{registry.address}/pushed/bill:1"
        project.build("--sbom=true", "-t", name, "--push").ok()
        shown = project.docker("buildx", "imagetools", "inspect", name, "--format", "{{json .SBOM}}").ok().out
        document = json.loads(shown)["SPDX"]
        assert document["spdxVersion"] == "SPDX-2.3"
        assert urls(document) == ["pkg:npm/%40scope/left-pad@1.3.0"]
        listed = project.docker("buildx", "imagetools", "inspect", name, "--format", "{{json .Manifest}}").ok().out
        image, attestation = json.loads(listed)["manifests"]
        assert attestation["annotations"]["vnd.docker.reference.digest"] == image["digest"]
        index = json.loads(listed)["digest"]
        # What changes nothing gives the same bill, with the same time.
        project.build("--attest", "type=sbom", "--provenance=false", "-t", name, "--push").ok()
        first = project.docker("buildx", "imagetools", "inspect", name, "--format", "{{json .Manifest}}").ok().out
        project.build("--sbom=true", "--provenance=false", "-t", name, "--push").ok()
        again = project.docker("buildx", "imagetools", "inspect", name, "--format", "{{json .Manifest}}").ok().out
        assert json.loads(first)["digest"] == json.loads(again)["digest"] != index


def test_the_bill_lists_what_dpkg_has_installed(hub: Hub, project: Project) -> None:
    hub.provide("debian")
    project.engine = hub.engine
    project.write(
        "FROM debian\nRUN sed -i '/^Package: perl-base$/,/^$/s/^Status: .*/Status: deinstall ok config-files/' "
        "/var/lib/dpkg/status\n"
    )
    project.build("--sbom=true", "-t", "app", "--output", f"type=local,dest={project.root}/out").ok()
    statement = json.loads((project.root / "out" / "sbom.spdx.json").read_text())
    assert statement["predicateType"] == "https://spdx.dev/Document"
    assert {"name": "etc/debian_version"}.items() <= {
        key: value for one in statement["subject"] if one["name"] == "etc/debian_version" for key, value in one.items()
    }.items()
    project.build("-t", "app").ok()
    asked = "${Package} ${Version} ${db:Status-Status}\\n"
    installed = {
        " ".join(line.split()[:2])
        for line in project.run("app", "dpkg-query", "-W", "-f", asked).splitlines()
        if line.endswith(" installed")
    }
    packages = [one for one in statement["predicate"]["packages"] if "versionInfo" in one]
    assert {f"{one['name']} {one['versionInfo']}" for one in packages} == installed
    assert len(packages) == len(installed) > 50
    assert "perl-base" not in {one["name"] for one in packages}
    assert all(url.startswith("pkg:deb/debian/") and "distro=debian-12" in url for url in urls(statement["predicate"]))


def test_trees_come_with_their_bill(project: Project) -> None:
    node_package(project)
    project.write("FROM scratch\nCOPY node_modules /node_modules\n")
    archive = project.root / "out.tar"
    arguments = ("--attest", "type=sbom", "--attest", "type=provenance,mode=max")
    project.build(*arguments, "--output", f"type=tar,dest={archive},attestation-prefix=my-").ok()
    with tarfile.open(archive) as opened:
        names = {one.name.removeprefix("./") for one in opened}
        assert {"my-sbom.spdx.json", "my-provenance.json"} <= names
        member = next(one for one in opened if one.name.endswith("my-sbom.spdx.json"))
        content = opened.extractfile(member)
        assert content is not None
        statement = json.loads(content.read())
    assert [one["name"] for one in statement["subject"]] == [_NODE]
    assert urls(statement["predicate"]) == ["pkg:npm/%40scope/left-pad@1.3.0"]
    project.write("FROM scratch\nCOPY Dockerfile /sbom.spdx.json\n")
    refused = project.build("--sbom=true", "--output", f"type=local,dest={project.root}/out")
    assert refused.status == 1
    assert "the tree has a file sbom.spdx.json" in refused.err
    plain = project.root / "plain"
    project.build("--output", f"type=local,dest={plain}").ok()
    assert [one.name for one in plain.iterdir()] == ["sbom.spdx.json"]


def test_stages_and_contexts_are_scanned_where_the_dockerfile_says_so(project: Project) -> None:
    node_package(project)
    project.write(
        f"FROM {BASE} AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY {_NODE} /{_NODE}\n"
        f"FROM {BASE} AS other\nRUN true > /other\n"
        "FROM scratch\nARG BUILDKIT_SBOM_SCAN_CONTEXT=true\n"
        "COPY --from=tools /etc/passwd /\nCOPY --from=other /other /\n"
    )
    out = project.root / "out"
    project.build("--no-cache", "--sbom=true", "--output", f"type=local,dest={out}").ok()
    found = {one.name: len(urls(json.loads(one.read_text())["predicate"])) for one in out.glob("*.spdx.json")}
    assert found == {"sbom.spdx.json": 0, "sbom-tools.spdx.json": 1, "sbom-context.spdx.json": 1}
    off = project.root / "off"
    flags = ("--build-arg", "BUILDKIT_SBOM_SCAN_STAGE=false", "--build-arg", "BUILDKIT_SBOM_SCAN_CONTEXT=0")
    project.build("--sbom=true", *flags, "--output", f"type=local,dest={off}").ok()
    assert [one.name for one in off.glob("*.spdx.json")] == ["sbom.spdx.json"]


def test_a_scanner_in_an_image_makes_the_bill(project: Project) -> None:
    project.write(f'FROM {BASE}\nCOPY --chmod=755 scan /scan\nUSER 0\nENTRYPOINT ["/scan"]\n', scan=_SCANNER)
    project.build("-t", "scanner").ok()
    project.write(
        f"FROM {BASE} AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN mkdir /t && touch /t/tool\n"
        "FROM scratch\nCOPY --from=tools /t/tool /made\n"
    )
    out = project.root / "out"
    generator = ("--sbom", "generator=scanner,WORD=up")
    project.build(*generator, "--output", f"type=local,dest={out}").ok()
    core = json.loads((out / "sbom.spdx.json").read_text())
    assert core["predicate"]["name"].split() == ["made", "of", "sbom"]
    assert [one["name"] for one in core["subject"]] == ["made"]
    extra = json.loads((out / "sbom-tools.spdx.json").read_text())
    assert "bin" in extra["predicate"]["name"].split()
    failed = project.build("--sbom", "generator=scanner,WORD=down")
    assert failed.status == 1
    assert "exit code: 1" in failed.err
    nothing = project.build("--sbom", f"generator={BASE}")
    assert nothing.status == 1
    assert "has written no bill of materials" in nothing.err
    assert not records_in_use(project.engine)


def test_a_bill_of_materials_is_in_the_history(project: Project) -> None:
    node_package(project)
    project.needs("history")
    project.write("FROM scratch\nCOPY . /\n")
    metadata = project.root / "metadata"
    project.build("--sbom=true", "-t", "kept", "--metadata-file", str(metadata)).ok()
    build = json.loads(metadata.read_text())["buildx.build.ref"].rpartition("/")[2]
    shown = project.docker("buildx", "history", "inspect", "attachment", build, "--type", "sbom")
    assert urls(json.loads(shown.ok().out)) == ["pkg:npm/%40scope/left-pad@1.3.0"]
