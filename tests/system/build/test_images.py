"""What is made of a build beside a plain image: times, forms of layers, platforms, annotations, provenance."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.files import write_files
from tests.support.registry import Registry

EPOCH = 1_000_000_000


def blob_of(registry: Registry, repository: str, digest: str) -> bytes:
    with urllib.request.urlopen(f"http://{registry.address}/v2/{repository}/blobs/{digest}", timeout=10) as answer:
        found: bytes = answer.read()
    return found


def manifest_of(registry: Registry, repository: str, reference: str) -> Any:
    return registry.get(f"{repository}/manifests/{reference}")


class Layout:
    """An archive with an OCI layout."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            self.members = {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]

    @property
    def top(self) -> dict[str, Any]:
        """What index.json names."""
        (entry,) = json.loads(self.members["index.json"])["manifests"]
        found: dict[str, Any] = self.document(entry["digest"])
        return found

    def blob(self, digest: str) -> bytes:
        content = self.members["blobs/" + digest.replace(":", "/")]
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
        return content

    def document(self, digest: str) -> Any:
        return json.loads(self.blob(digest))


def export(client: Client, context: Path, target: Path, *arguments: str, output: str = "") -> Layout:
    more = f",{output}" if output else ""
    client("build", "-q", *arguments, "--output", f"type=oci,dest={target}{more}", str(context)).ok()
    return Layout(target)


def files_of(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: one for one in tar}


_TREE = f"FROM {BUSYBOX}\nCOPY d /d\nRUN mkdir /r && echo x > /r/f && ln -s f /r/l && rm /d/a\nWORKDIR /w\n"


def test_the_same_inputs_give_the_same_digests_on_two_engines(engine: Engine, tmp_path: Path) -> None:
    digests = []
    arguments = ("--no-cache", "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "--provenance=false")
    output = ("--output", "type=image,rewrite-timestamp=true")
    other = Engine.start()
    try:
        for number, one in enumerate((engine, other)):
            context = write_files(tmp_path / str(number), {"Dockerfile": _TREE, "d/a": "1", "d/b/c": "2"})
            metadata = tmp_path / f"{number}.json"
            one.darse("build", "-q", *arguments, *output, "--metadata-file", str(metadata), str(context)).ok()
            digests.append(json.loads(metadata.read_text())["containerimage.digest"])
    finally:
        other.close()
    assert digests[0] == digests[1]


def test_times_that_are_later_than_the_epoch_become_it(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path / "c", {"Dockerfile": _TREE, "d/a": "1", "d/b/c": "2"})
    arguments = ("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}")
    plain = export(engine.darse, tmp_path / "c", tmp_path / "plain.tar", *arguments)
    rewritten = export(engine.darse, tmp_path / "c", tmp_path / "new.tar", *arguments, output="rewrite-timestamp=true")
    layers = [one["digest"] for one in rewritten.top["layers"]]
    before = [one["digest"] for one in plain.top["layers"]]
    assert layers[0] == before[0]  # the base's
    assert not set(layers[1:3]) & set(before)
    names: set[str] = set()
    for digest in layers[1:]:
        found = files_of(rewritten.blob(digest))
        assert all(one.mtime <= EPOCH for one in found.values())
        names |= found.keys()
    assert {"r/f", "r/l", "d/.wh.a", "d/b/c"} <= names
    config = rewritten.document(rewritten.top["config"]["digest"])
    assert config["created"] == "2001-09-09T01:46:40Z"
    assert {one["created"] for one in config["history"][-3:]} == {"2001-09-09T01:46:40Z"}


@pytest.mark.parametrize(("form", "level"), [("gzip", "9"), ("gzip", ""), ("zstd", "7")])
def test_layers_are_compressed_as_the_output_says(engine: Engine, tmp_path: Path, form: str, level: str) -> None:
    write_files(tmp_path / "c", {"Dockerfile": f"FROM {BUSYBOX}\nRUN seq 99999 > /n\nLABEL of={form}{level}\n"})
    output = f"compression={form},force-compression=true" + (f",compression-level={level}" if level else "")
    layout = export(engine.darse, tmp_path / "c", tmp_path / "o.tar", output=output)
    config = layout.document(layout.top["config"]["digest"])
    assert len(layout.top["layers"]) == len(config["rootfs"]["diff_ids"]) == 2
    for layer, diff_id in zip(layout.top["layers"], config["rootfs"]["diff_ids"], strict=True):
        assert layer["mediaType"] == f"application/vnd.oci.image.layer.v1.tar+{form}"
        packed = layout.blob(layer["digest"])
        assert len(packed) == layer["size"]
        archive = subprocess.run([form, "-dc"], input=packed, stdout=subprocess.PIPE, check=True).stdout
        assert f"sha256:{hashlib.sha256(archive).hexdigest()}" == diff_id
    again = export(engine.darse, tmp_path / "c", tmp_path / "again.tar", output=output)
    assert again.members == layout.members


def test_layers_go_to_a_registry_in_their_form(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo zstd > /z\n"})
    name = f"{registry.address}/zstd:1"
    engine.darse("build", "-q", "-t", name, "--output", "type=registry,compression=zstd", str(tmp_path)).ok()
    manifest = manifest_of(registry, "zstd", "1")
    assert manifest["layers"][-1]["mediaType"].endswith("+zstd")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("compression=lzma", "unsupported compression 'lzma'"),
        ("compression=gzip,compression-level=11", "invalid compression level '11'"),
        ("compression-level=1", "compression-level needs a compression"),
        ("nonsense=1", "unsupported attribute 'nonsense'"),
        ("rewrite-timestamp=perhaps", "must be true or false"),
    ],
)
def test_attributes_that_mean_nothing_are_refused(engine: Engine, tmp_path: Path, output: str, text: str) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN exit 9\n"})
    failed = engine.darse("build", "--output", f"type=image,{output}", str(tmp_path))
    assert failed.status == 1
    assert text in failed.err


def test_several_platforms_make_an_index(engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        f"FROM --platform=$BUILDPLATFORM {BUSYBOX} AS b\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n"
        "FROM scratch\nCOPY --from=b /arch /\n"
    )
    write_files(tmp_path / "c", {"Dockerfile": dockerfile})
    arguments = ("--platform", "linux/amd64,linux/arm64", "-t", "several:1", "--annotation", "index:on=index")
    more = ("--annotation", "plain=manifest", "--annotation", "manifest[linux/arm64]:only=arm64")
    layout = export(engine.darse, tmp_path / "c", tmp_path / "o.tar", *arguments, *more)
    index = layout.top
    assert index["annotations"] == {"on": "index"}
    assert [one["platform"]["architecture"] for one in index["manifests"]] == ["amd64", "arm64"]
    for entry in index["manifests"]:
        manifest = layout.document(entry["digest"])
        architecture = entry["platform"]["architecture"]
        assert layout.document(manifest["config"]["digest"])["architecture"] == architecture
        only = {"only": "arm64"} if architecture == "arm64" else {}
        assert manifest["annotations"] == {"plain": "manifest", **only}
        assert files_of(layout.blob(manifest["layers"][0]["digest"])).keys() == {"arch"}
    shown = engine.darse("image", "inspect", "--platform", "linux/arm64", "-f", "{{.Architecture}}", "several:1").ok()
    assert shown.line == "arm64"


def test_a_process_of_another_machine_says_what_is_missing(engine: Engine, tmp_path: Path) -> None:
    if any(Path("/proc/sys/fs/binfmt_misc").glob("qemu-s390x*")):
        pytest.skip("this host runs programs for s390x")
    program = base64.b64encode(b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\x16" + bytes(44)).decode()
    dockerfile = (
        f"FROM --platform=$BUILDPLATFORM {BUSYBOX} AS b\nRUN echo {program} | base64 -d > /p && chmod 755 /p\n"
        'FROM --platform=linux/s390x scratch\nCOPY --from=b /p /p\nRUN ["/p"]\n'
    )
    write_files(tmp_path, {"Dockerfile": dockerfile})
    failed = engine.darse("build", "--platform", "linux/s390x", str(tmp_path))
    assert failed.status == 1
    assert "linux/s390x" in failed.err
    assert "binfmt_misc" in failed.err


def test_an_index_annotation_needs_an_index(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\n"})
    failed = engine.darse("build", "--annotation", "index:a=b", str(tmp_path))
    assert "index annotations not supported for single platform export" in failed.err


def test_own_layers_become_one(engine: Engine, tmp_path: Path) -> None:
    text = (
        f"FROM {BUSYBOX}\nRUN echo 1 > /one && echo gone > /gone\nRUN rm /gone /etc/group\n"
        "RUN echo 2 > /two\nCMD cat /one /two\n"
    )
    write_files(tmp_path, {"Dockerfile": text})
    client = engine.darse
    image = client("build", "-q", "--squash", str(tmp_path)).ok().line
    layers = json.loads(client("image", "inspect", "-f", "{{json .RootFS.Layers}}", image).line)
    base = json.loads(client("image", "inspect", "-f", "{{json .RootFS.Layers}}", BUSYBOX).line)
    assert layers[:-1] == base
    assert client("run", "--rm", image).ok().out == "1\n2\n"
    assert client("run", "--rm", image, "ls", "/gone", "/etc/group").status != 0
    history = client("history", "-q", image).ok().out.splitlines()
    assert history
    again = client("build", "-q", "--squash", "--no-cache-filter", "none", str(tmp_path)).ok().line
    assert again == image


def test_provenance_is_attested_as_buildkit_lays_it_out(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    write_files(
        tmp_path / "c",
        {"Dockerfile": f"FROM {BUSYBOX}\nARG SHOWN\nRUN --mount=type=secret,id=s cat /run/secrets/s > /dev/null\n"},
    )
    name = f"{registry.address}/attested:1"
    arguments = ("--build-arg", "SHOWN=only-in-max", "--secret", "id=s,env=HIDDEN", "-t", name)
    for mode, version in (("min", "v0.2"), ("max", "v1")):
        engine.darse(
            "build",
            "-q",
            *arguments,
            f"--provenance=mode={mode},version={version}",
            "--push",
            str(tmp_path / "c"),
            env={"HIDDEN": "never-told"},
        ).ok()
        index = manifest_of(registry, "attested", "1")
        image, attestation = index["manifests"]
        assert attestation["platform"] == {"architecture": "unknown", "os": "unknown"}
        assert attestation["annotations"] == {
            "vnd.docker.reference.digest": image["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        }
        manifest = manifest_of(registry, "attested", attestation["digest"])
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == "application/vnd.in-toto+json"
        assert layer["annotations"] == {"in-toto.io/predicate-type": f"https://slsa.dev/provenance/{version}"}
        text = blob_of(registry, "attested", layer["digest"])
        statement = json.loads(text)
        assert statement["subject"][0]["digest"]["sha256"] == image["digest"].removeprefix("sha256:")
        assert statement["subject"][0]["name"].startswith("pkg:docker/")
        assert (b"only-in-max" in text) is (mode == "max")
        assert b"never-told" not in text
        predicate = statement["predicate"]
        if version == "v0.2":
            assert predicate["invocation"]["parameters"]["frontend"] == "dockerfile.v0"
            assert predicate["materials"][0]["uri"].startswith("pkg:docker/builtin/busybox")
            assert "buildConfig" not in predicate
        else:
            definition = predicate["buildDefinition"]
            assert definition["externalParameters"]["request"]["secrets"] == [{"id": "s", "optional": True}]
            assert definition["internalParameters"]["buildConfig"]["llbDefinition"]


def test_a_bill_of_materials_is_attested(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    package = json.dumps({"name": "left-pad", "version": "1.3.0"})
    write_files(
        tmp_path / "c",
        {
            "Dockerfile": f"FROM {BUSYBOX}\nCOPY node_modules /node_modules\n",
            "node_modules/left-pad/package.json": package,
        },
    )
    name = f"{registry.address}/bill:1"
    for arguments in (("--sbom", "true"), ("--attest", "type=sbom"), ("--sbom=true", "--provenance=mode=min")):
        engine.darse("build", "-q", *arguments, "--push", "-t", name, str(tmp_path / "c")).ok()
        image, attestation = manifest_of(registry, "bill", "1")["manifests"]
        layers = manifest_of(registry, "bill", attestation["digest"])["layers"]
        types = [one["annotations"]["in-toto.io/predicate-type"] for one in layers]
        assert types == ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"][: len(layers)]
        assert len(layers) == 1 + ("--provenance=mode=min" in arguments)
        statement = json.loads(blob_of(registry, "bill", layers[0]["digest"]))
        assert statement["subject"][0]["digest"]["sha256"] == image["digest"].removeprefix("sha256:")
        (_, found) = statement["predicate"]["packages"]
        assert found["externalRefs"][0]["referenceLocator"] == "pkg:npm/left-pad@1.3.0"
    engine.darse("build", "--sbom=true", "--provenance=true", "-o", str(tmp_path / "out"), str(tmp_path / "c")).ok()
    written = json.loads((tmp_path / "out" / "sbom.spdx.json").read_text())
    assert written["predicate"]["spdxVersion"] == "SPDX-2.3"
    assert (tmp_path / "out" / "provenance.json").exists()
    archive = tmp_path / "out.tar"
    engine.darse("build", "--sbom=true", "-o", f"type=tar,dest={archive}", str(tmp_path / "c")).ok()
    with tarfile.open(archive) as opened:
        assert {"sbom.spdx.json", "node_modules/left-pad/package.json"} <= set(opened.getnames())


def test_a_bill_of_materials_that_cannot_be_made_is_refused(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\n"})
    for given, expected in (
        ("WORD=up", "name a generator"),
        ("generator", "invalid sbom field"),
        ("generator=a b", ""),
    ):
        failed = engine.darse("build", "--sbom", given, str(tmp_path))
        assert failed.status == 1
        assert expected in failed.err
