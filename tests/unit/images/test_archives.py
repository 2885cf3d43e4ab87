"""The layouts of image archives."""

import io
import json
import tarfile

import pytest

from darse.engine.errors import InvalidParameter
from darse.images.archives import Archive, find_images
from darse.images.model import INDEX, LAYER, MANIFEST, chain_ids, digest_of


def _archive(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                member.type, member.linkname = content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return Archive(buffer)


def _json(document):
    return json.dumps(document).encode()


def test_the_docker_layout_is_read_with_links_between_layers():
    archive = _archive(
        {
            "manifest.json": _json(
                [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
            ),
            "c.json": b"{}",
            "a/layer.tar": b"LAYER",
            "b/layer.tar": (tarfile.SYMTYPE, "../a/layer.tar"),
        }
    )
    (found,) = find_images(archive, "amd64")
    assert (found.config, found.names) == ("c.json", ["x:1"])
    assert archive.open(found.layers[1][0]).read() == b"LAYER"


def test_the_oci_layout_is_followed_through_indexes_to_this_platform():
    config, layer = b"{}", b"LAYER"

    def manifest(marker):
        return _json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": marker, "digest": digest_of(config), "size": 2},
                "layers": [{"mediaType": LAYER, "digest": digest_of(layer), "size": 5}],
            }
        )

    ours, theirs = manifest("ours"), manifest("theirs")
    inner = _json(
        {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": MANIFEST,
                    "digest": digest_of(document),
                    "size": 1,
                    "platform": {"architecture": architecture, "os": "linux"},
                }
                for document, architecture in ((theirs, "s390x"), (ours, "amd64"))
            ],
        }
    )
    outer = _json(
        {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": INDEX,
                    "digest": digest_of(inner),
                    "size": 1,
                    "annotations": {"org.opencontainers.image.ref.name": "reg.example/x:1"},
                }
            ],
        }
    )
    blobs = {f"blobs/sha256/{digest_of(blob)[7:]}": blob for blob in (config, layer, ours, theirs, inner)}
    (found,) = find_images(_archive({"index.json": outer} | blobs), "amd64")
    assert found.names == ["reg.example/x:1"]
    assert found.manifest == (ours, MANIFEST)
    assert found.layers == [(f"blobs/sha256/{digest_of(layer)[7:]}", digest_of(layer), LAYER)]


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"manifest.json": b"not json"},
        {"manifest.json": b"[" * 100000},
        {"manifest.json": _json([{"Config": 5}])},
        {"manifest.json": _json({"a": 1})},
        {"index.json": _json({"manifests": [{"mediaType": INDEX, "digest": "sha256:00", "size": 1}]})},
        {"manifest.json": (tarfile.SYMTYPE, "manifest.json")},
        {"manifest.json": (tarfile.SYMTYPE, "/etc/passwd")},
        {"manifest.json": (tarfile.FIFOTYPE, "")},
    ],
)
def test_what_is_no_image_archive_is_refused(members):
    with pytest.raises(InvalidParameter, match="invalid archive"):
        find_images(_archive(members), "amd64")


@pytest.mark.parametrize("content", [b"", b"x" * 600, b"\x1f\x8b" + b"\0" * 100])
def test_what_is_no_archive_is_refused(content):
    with pytest.raises(InvalidParameter, match="invalid archive"):
        find_images(Archive(io.BytesIO(content)), "amd64")


def test_a_header_that_claims_gigabytes_is_refused_before_it_is_read():
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        header = tarfile.TarInfo("x")
        header.type, header.size = kind, 5 << 30
        with pytest.raises(InvalidParameter, match="invalid archive"):
            Archive(io.BytesIO(header.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024))


def test_long_name_headers_without_end_are_refused():
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    with pytest.raises(InvalidParameter, match="invalid archive"):
        Archive(io.BytesIO((header.tobuf(tarfile.GNU_FORMAT) + b"x" * 512) * 5000))


def test_documents_that_are_not_what_their_digest_says_are_refused():
    claimed = digest_of(b"another")
    index = {"manifests": [{"mediaType": MANIFEST, "digest": claimed, "size": 1}]}
    with pytest.raises(InvalidParameter, match=f"{claimed} is"):
        find_images(_archive({"index.json": _json(index), f"blobs/sha256/{claimed[7:]}": b"{}"}), "amd64")


def test_an_archive_without_an_image_for_this_machine_is_refused():
    index = {"manifests": [{"mediaType": MANIFEST, "digest": "", "size": 1, "platform": {"architecture": "s390x"}}]}
    with pytest.raises(InvalidParameter, match="no image in it is for linux/amd64"):
        find_images(_archive({"index.json": _json(index)}), "amd64")


def test_a_chain_id_covers_the_layers_below():
    first, second = digest_of(b"1"), digest_of(b"2")
    chain = chain_ids([first, second])
    assert chain == [first, digest_of(f"{first} {second}".encode())]
