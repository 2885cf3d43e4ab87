"""An index as BuildKit makes it: two platforms, and what is attested of one of them; by the API alone."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.engine import Engine
from tests.support.http import ApiClient, Response

INDEX, MANIFEST, CONFIG, LAYER = (
    f"application/vnd.oci.image.{name}"
    for name in ("index.v1+json", "manifest.v1+json", "config.v1+json", "layer.v1.tar")
)
STATEMENT = "application/vnd.in-toto+json"
SLSA, SPDX = "https://slsa.dev/provenance/v0.2", "https://spdx.dev/Document"
HERE, THERE = "linux/amd64", "linux/s390x"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Layout:
    """An OCI layout that is being made."""

    def __init__(self) -> None:
        self.members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(self, content: object, media_type: str, **more: Any) -> dict[str, Any]:
        """Add a blob, and return its descriptor."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.members["blobs/" + digest(data).replace(":", "/")] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def image(self, architecture: str) -> dict[str, Any]:
        """Add an image of a platform."""
        layer = self.blob(bytes(10240), LAYER)
        platform = {"architecture": architecture, "os": "linux"}
        rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
        config = self.blob({**platform, "config": {"Cmd": ["x"]}, "rootfs": rootfs}, CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        return self.blob(manifest, MANIFEST, platform=platform)

    def attestation(self, about: dict[str, Any]) -> dict[str, Any]:
        """Add statements about an image."""
        layers = [
            self.blob({"predicateType": kind}, STATEMENT, annotations={"in-toto.io/predicate-type": kind})
            for kind in (SLSA, SPDX)
        ]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.blob({}, CONFIG), "layers": layers}
        marks = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": about["digest"]}
        unknown = {"architecture": "unknown", "os": "unknown"}
        return self.blob(manifest, MANIFEST, platform=unknown, annotations=marks)

    def archive(self, name: str, *manifests: dict[str, Any]) -> bytes:
        """The archive, with `name` for an index of the manifests."""
        index = self.blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)
        index["annotations"] = {"io.containerd.image.name": f"docker.io/library/{name}"}
        self.members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [index]}).encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as made:
            for path, content in self.members.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
        return packed.getvalue()


@pytest.fixture
def api(engine: Engine) -> Iterator[ApiClient]:
    """The newest API, with the image `attested:1`: this platform's is attested, and another one's is not."""
    layout = Layout()
    here, there = layout.image("amd64"), layout.image("s390x")
    client = ApiClient(str(engine.socket), version=None)
    loaded(client, layout.archive("attested:1", here, there, layout.attestation(here)))
    yield client
    client("DELETE", "/images/attested:1?force=1")


def loaded(api: ApiClient, archive: bytes, query: str = "") -> Response:
    """Load an archive; the answer tells of no error."""
    answer = api("POST", f"/images/load{query}", archive, headers={"Content-Type": "application/x-tar"})
    assert answer.status == 200, answer.body
    assert b"errorDetail" not in answer.body, answer.body
    return answer


def test_attestations_are_told_by_platform_and_type(api: ApiClient) -> None:
    path = "/images/attested:1/attestations"
    found = api("GET", path).json()
    assert [one["PredicateType"] for one in found] == [SLSA, SPDX]
    assert [one["Descriptor"]["mediaType"] for one in found] == [STATEMENT] * 2
    assert not any("Statement" in one for one in found)
    assert api("GET", f"{path}?platform={HERE}").json() == found
    assert api("GET", f"{path}?type={SPDX}&type=other").json() == found[1:]
    assert api("GET", f"{path}?type=other").json() == []
    assert api("GET", f"{path}?platform={THERE}").json() == []


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/images/nosuch/attestations", 404, "No such image"),
        ("/images/attested:1/attestations?platform=linux/riscv64", 404, "does not provide the specified platform"),
        ("/images/attested:1/attestations?platform=nonsense%20", 400, "invalid component"),
        (f"/images/attested:1/attestations?platform={HERE}&platform={THERE}", 400, "give one"),
        # The engine keeps no statements: it says so.
        ("/images/attested:1/attestations?statement=1", 404, "is not available locally"),
        ("/v1.54/images/attested:1/attestations", 404, "page not found"),
    ],
)
def test_what_is_not_there_is_said(api: ApiClient, path: str, status: int, said: str) -> None:
    answer = api("GET", path)
    assert answer.status == status
    assert said in answer.message


def test_an_image_without_an_index_has_none(api: ApiClient) -> None:
    saved = api("GET", f"/images/attested:1/get?platform={HERE}").body
    api("DELETE", "/images/attested:1?force=1")
    loaded(api, saved)
    assert api("GET", "/images/attested:1/attestations").json() == []


def platforms_of(api: ApiClient) -> set[str]:
    """The platforms of which `attested:1` has an image here."""
    manifests = api("GET", "/images/attested:1/json?manifests=1").json()["Manifests"]
    return {
        one["ImageData"]["Platform"]["architecture"] for one in manifests if one["Available"] and "ImageData" in one
    }


@pytest.mark.parametrize(
    ("wanted", "architectures"),
    [((HERE,), {"amd64"}), ((THERE,), {"s390x"}), ((THERE, HERE), {"amd64", "s390x"}), ((), {"amd64", "s390x"})],
)
def test_several_platforms_are_saved_and_loaded(
    api: ApiClient, wanted: tuple[str, ...], architectures: set[str]
) -> None:
    query = "?" + "&".join(f"platform={one}" for one in wanted)
    whole = api("GET", "/images/attested:1/get").body
    chosen = api("GET", f"/images/attested:1/get{query}").body
    for archive, asked in ((chosen, ""), (whole, query)):
        api("DELETE", "/images/attested:1?force=1")
        loaded(api, archive, asked)
        assert platforms_of(api) == architectures
