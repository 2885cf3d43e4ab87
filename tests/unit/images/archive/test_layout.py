"""What is in an archive: docker's layout, OCI's, and the one before."""

import json

import pytest

from darse.core.errors import InvalidParameter
from darse.image_spec import platforms
from darse.image_spec.digests import chain_ids, digest_of
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from darse.images.archive import legacy
from darse.images.archive.layout import ArchiveLayer, Contents, blob_name, find_targets

LAYER_BLOB = "sha256:" + "1" * 64


def _json(document):
    return json.dumps(document).encode()


def _contents(documents, layers=(), links=()):
    contents = Contents()
    contents.documents.update(documents)
    contents.layers.update(layers)
    contents.links.update(links)
    return contents


def _blobs(*documents):
    return {blob_name(digest_of(document)): document for document in documents}


def _config(architecture):
    return _json({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["x"]}})


def _manifest(config, media_type=OCI_CONFIG):
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": media_type, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": OCI_LAYER, "digest": LAYER_BLOB, "size": 5}],
        }
    )


def _descriptor(document, media_type=OCI_MANIFEST, **more):
    return {"mediaType": media_type, "digest": digest_of(document), "size": len(document), **more}


def _index(*descriptors):
    return _json({"schemaVersion": 2, "manifests": list(descriptors)})


def _named(name):
    return {"annotations": {"io.containerd.image.name": name}}


OURS, THEIRS = _config(platforms.host().architecture), _config("s390x")


def test_the_docker_layout_is_read_with_links_between_layers():
    contents = _contents(
        {
            "manifest.json": _json(
                [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
            ),
            "c.json": b"{}",
        },
        ["a/layer.tar"],
        {"b/layer.tar": "b/../a/layer.tar"},
    )
    (found,) = find_targets(contents)
    (image,) = found.images
    assert (image.config, found.names) == (b"{}", ["x:1"])
    assert image.layers == [ArchiveLayer("a/layer.tar"), ArchiveLayer("a/layer.tar")]


def test_an_index_has_the_images_of_all_platforms_that_are_whole():
    ours, theirs, missing = _manifest(OURS), _manifest(THEIRS), _manifest(b"{}")
    signature = _manifest(b"{}", "application/vnd.dev.cosign")
    inner = _index(*map(_descriptor, (theirs, missing, ours, signature)))
    documents = _blobs(inner, ours, theirs, OURS, THEIRS, signature)
    top = {"index.json": _index(_descriptor(inner, OCI_INDEX, **_named("reg.example/x:1")))}
    contents = _contents(documents | top, [blob_name(LAYER_BLOB)])
    (found,) = find_targets(contents)
    assert found.names == ["reg.example/x:1"]
    assert (found.document, found.media_type) == (inner, OCI_INDEX)
    assert [image.config for image in found.images] == [THEIRS, OURS]
    assert found.images[0].layers == [ArchiveLayer(blob_name(LAYER_BLOB), Descriptor(OCI_LAYER, LAYER_BLOB, 5))]
    assert set(found.manifests.values()) == {ours, theirs, signature}
    (found,) = find_targets(contents, [platforms.parse("linux/s390x")])
    assert [image.config for image in found.images] == [THEIRS]
    (found,) = find_targets(contents, [platforms.host(), platforms.parse("linux/s390x")])
    assert [image.config for image in found.images] == [THEIRS, OURS]
    with pytest.raises(InvalidParameter, match="does not provide the specified platform \\(linux/riscv64\\)"):
        find_targets(contents, [platforms.host(), platforms.parse("linux/riscv64")])


def test_entries_of_one_manifest_are_one_image_with_their_names_and_dockers():
    manifest = _manifest(OURS)
    top = _index(
        _descriptor(manifest, **_named("x:1")), _descriptor(manifest, **_named("x:2")), _descriptor(b"artifact")
    )
    with pytest.raises(InvalidParameter, match="is missing"):
        find_targets(_contents({"index.json": top, **_blobs(manifest, OURS)}, [blob_name(LAYER_BLOB)]))
    top = _index(_descriptor(manifest, **_named("x:1")), _descriptor(manifest, **_named("x:2")))
    (found,) = find_targets(_contents({"index.json": top, **_blobs(manifest, OURS)}, [blob_name(LAYER_BLOB)]))
    assert found.names == ["x:1", "x:2"]
    docker = _json([{"Config": blob_name(digest_of(OURS)), "RepoTags": ["y:1"], "Layers": [blob_name(LAYER_BLOB)]}])
    nameless = {"index.json": _index(_descriptor(manifest)), "manifest.json": docker, **_blobs(manifest, OURS)}
    (found,) = find_targets(_contents(nameless, [blob_name(LAYER_BLOB)]))
    assert (found.names, found.document) == (["y:1"], manifest)


def test_dockers_layout_is_taken_where_the_other_is_not_whole():
    docker = _json([{"Config": blob_name(digest_of(OURS)), "RepoTags": ["y:1"], "Layers": [blob_name(LAYER_BLOB)]}])
    documents = {"index.json": _index(_descriptor(_manifest(OURS))), "manifest.json": docker, **_blobs(OURS)}
    (found,) = find_targets(_contents(documents, [blob_name(LAYER_BLOB)]))
    assert (found.names, found.document) == (["y:1"], b"")


def test_indexes_in_indexes_are_followed_but_not_for_ever():
    manifest = _manifest(OURS)
    document, documents = manifest, [manifest, OURS]
    for depth in range(7):
        document = _index(_descriptor(document, OCI_MANIFEST if depth == 0 else OCI_INDEX))
        documents.append(document)
        top = {"index.json": _index(_descriptor(document, OCI_INDEX))}
        contents = _contents(top | _blobs(*documents), [blob_name(LAYER_BLOB)])
        if depth <= 4:
            assert len(find_targets(contents)[0].images) == 1
    with pytest.raises(InvalidParameter, match="nested too deeply"):
        find_targets(contents)


def test_images_from_before_docker_1_10_get_a_config():
    def step(one, parent="", command=()):
        return {
            "id": one,
            "parent": parent,
            "created": f"2015-01-0{len(parent) + 1}T00:00:00Z",
            "container_config": {"Cmd": list(command)},
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/hello"]},
        }

    documents = {
        "repositories": _json({"old/image": {"1": "bb", "latest": "bb"}}),
        "bb/json": _json(step("bb", "a", ["/bin/sh", "-c", "make"])),
        "a/json": _json(step("a")),
    }
    (found,) = find_targets(_contents(documents, ["a/layer.tar", "bb/layer.tar"]))
    assert found.names == ["old/image:1", "old/image:latest"]
    (image,) = found.images
    assert [layer.member for layer in image.layers] == ["a/layer.tar", "bb/layer.tar"]
    config = json.loads(legacy.with_diff_ids(image.config, ["1", "2"]))
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["1", "2"]}
    assert config["config"] == {"Cmd": ["/hello"]}
    assert config["history"][1] == {"created": "2015-01-02T00:00:00Z", "created_by": "/bin/sh -c make"}
    assert "id" not in config


@pytest.mark.parametrize(
    ("parents", "words"),
    [
        ({"a": "a"}, "no end"),
        ({"a": "b", "b": "a"}, "no end"),
        ({"a": "../x"}, "no end"),
        ({"a": "c"}, "c/json is missing"),
    ],
)
def test_chains_of_old_layers_that_do_not_end_are_refused(parents, words):
    documents = {f"{one}/json": _json({"id": one, "parent": parent}) for one, parent in parents.items()}
    documents["repositories"] = _json({"x": {"1": "a"}})
    with pytest.raises(InvalidParameter, match=words):
        find_targets(_contents(documents, ["a/layer.tar", "b/layer.tar"]))


@pytest.mark.parametrize(
    "documents",
    [
        {},
        {"manifest.json": b"not json"},
        {"manifest.json": b"[" * 100000},
        {"manifest.json": _json([{"Config": 5}])},
        {"manifest.json": _json({"a": 1})},
        {"index.json": _json({"manifests": [{"mediaType": OCI_INDEX, "digest": "sha256:00", "size": 1}]})},
        {"index.json": _json({"manifests": []})},
        {"repositories": _json({"x": ["1"]})},
    ],
)
def test_what_is_no_image_archive_is_refused(documents):
    with pytest.raises(InvalidParameter, match="invalid archive"):
        find_targets(_contents(documents))


@pytest.mark.parametrize("target", ["manifest.json", "/etc/passwd", "../../etc/passwd"])
def test_links_lead_nowhere_else(target):
    with pytest.raises(InvalidParameter, match="is missing, or no regular file"):
        find_targets(_contents({}, links={"manifest.json": target}))


def test_documents_that_are_not_what_their_digest_says_are_refused():
    claimed = digest_of(b"another")
    index = {"manifests": [{"mediaType": OCI_MANIFEST, "digest": claimed, "size": 1}]}
    with pytest.raises(InvalidParameter, match=f"{claimed} is"):
        find_targets(_contents({"index.json": _json(index), f"blobs/sha256/{claimed[7:]}": b"{}"}))


def test_a_chain_id_covers_the_layers_below():
    first, second = digest_of(b"1"), digest_of(b"2")
    chain = chain_ids([first, second])
    assert chain == [first, digest_of(f"{first} {second}".encode())]
