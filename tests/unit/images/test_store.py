"""Names, targets and images: what refers to what, and that databases of the first schema go on."""

import msgspec
import pytest

from darse.core.errors import InvalidParameter, NotFound
from darse.core.state import Schema, State
from darse.image_spec import platforms
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from darse.image_spec.platforms import Platform
from darse.images import references, store
from darse.images.content.manifests import target_with
from darse.images.model import IMAGE_DOCUMENTS, Image, ImageConfig, Target, Variant
from darse.images.store import ImageStore

HOST = platforms.host().architecture
OTHER = "s390x"


def image_of(name, architecture=HOST, parent=""):
    return Image(
        id=digest_of(f"config {name}".encode()),
        parent=parent,
        manifest=manifest_of(name, architecture),
        config_size=1,
        config=ImageConfig(architecture=architecture, os="linux"),
        layers=(),
        size=5,
        stored_ns=1,
    )


def manifest_of(name, architecture=HOST):
    platform = Platform(architecture, "linux")
    return Descriptor(OCI_MANIFEST, digest_of(f"manifest {name}".encode()), 3, platform=platform)


def index_of(name, *images):
    variants = tuple(Variant(image.manifest, image.id) for image in images)
    return Target(Descriptor(OCI_INDEX, digest_of(f"index {name}".encode()), 9), variants)


def target_of(image):
    return Target(image.manifest, (Variant(image.manifest, image.id),))


@pytest.fixture
def state(tmp_path):
    opened = State(tmp_path / "state.sqlite", [store.SCHEMA])
    yield opened
    opened.close()


@pytest.fixture
def images(state):
    return ImageStore(state)


def put(images, target, *members, names=()):
    with images.changing():
        for image in members:
            images.add(image, IMAGE_DOCUMENTS.encode(image))
        stored = images.put(target)
        for name in names:
            images.tag(references.parse(name), stored)
    return stored


def test_a_name_means_its_targets_image_for_this_machine(images, state):
    theirs, ours = image_of("theirs", OTHER), image_of("ours")
    put(images, index_of("both", theirs, ours), theirs, ours, names=["x:1"])
    for one in (images, ImageStore(state)):
        found = one.find("x:1")
        assert found.image.id == ours.id
        assert one.find("x:1", platforms.parse(f"linux/{OTHER}")).image.id == theirs.id
        assert found.target.descriptor.media_type == OCI_INDEX
        assert one.names(ours.id) == ["docker.io/library/x:1"]
        assert one.names(theirs.id) == []
        assert one.names_with(theirs.id) == ["docker.io/library/x:1"]
    with pytest.raises(NotFound, match="was found but does not provide the specified platform \\(linux/arm/v5\\)"):
        images.find("x:1", Platform("arm", "linux", variant="v5"))


def test_without_an_image_for_this_machine_the_first_is_meant(images):
    one, two = image_of("one", OTHER), image_of("two", "riscv64")
    put(images, index_of("foreign", two, one), one, two, names=["x:1"])
    assert images.find("x:1").image.id == two.id


def test_digests_and_prefixes_of_every_document_are_found(images):
    theirs, ours = image_of("theirs", OTHER), image_of("ours")
    target = put(images, index_of("both", theirs, ours), theirs, ours, names=["x:1"])
    for text, image in (
        (ours.id, ours),
        (ours.id[7:20], ours),
        (theirs.id, theirs),
        (target.digest, ours),
        (target.digest[7:30], ours),
        (theirs.manifest.digest, theirs),
        (f"x@{target.digest}", ours),
    ):
        assert images.find(text).image.id == image.id
    with pytest.raises(NotFound, match="No such image: y@sha256"):
        images.find(f"y@{target.digest}")
    with pytest.raises(InvalidParameter, match="invalid reference format"):
        images.find("sha256:zz")


def test_a_target_learns_of_platforms_one_by_one(images):
    ours, theirs = image_of("ours"), image_of("theirs", OTHER)
    whole = index_of("both", theirs, ours)
    only_ours = Target(whole.descriptor, (Variant(theirs.manifest), Variant(ours.manifest, ours.id)))
    only_theirs = Target(whole.descriptor, (Variant(theirs.manifest, theirs.id), Variant(ours.manifest)))
    put(images, only_theirs, theirs)
    assert put(images, only_ours, ours) == whole
    assert [image.id for image in images.images_of(whole)] == [theirs.id, ours.id]
    images.without(whole, [ours.id])
    assert images.find(whole.digest).image.id == theirs.id


def test_images_go_with_the_last_target_that_has_them(images, state):
    ours, theirs = image_of("ours"), image_of("theirs", OTHER)
    both, alone = index_of("both", theirs, ours), target_of(ours)
    put(images, both, theirs, ours)
    put(images, alone)
    assert [image.id for image in images.delete_targets([both])] == [theirs.id]
    assert [image.id for image in images.delete_targets([alone])] == [ours.id]
    assert len(images) == len(ImageStore(state)) == 0


def test_nothing_is_remembered_of_a_transaction_that_failed(images):
    ours = image_of("ours")

    def fail():
        with images.changing():
            put(images, target_of(ours), ours, names=["x:1"])
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert len(images) == 0
    assert images.named(references.parse("x:1")) is None


def test_names_of_the_first_schema_refer_to_the_manifests_of_their_images(tmp_path):
    first = Schema("images", store.SCHEMA.steps[:1])
    old = State(tmp_path / "old.sqlite", [first])
    ours, dangling = image_of("ours"), image_of("dangling")
    with old.transaction() as connection:
        for image in (ours, dangling):
            document = msgspec.to_builtins(image)
            del document["parent"]
            connection.execute("INSERT INTO images VALUES (?, ?)", (image.id, msgspec.json.encode(document)))
        connection.execute("INSERT INTO image_names VALUES ('docker.io/library/x:1', ?, 77)", (ours.id,))
    old.close()
    state = State(tmp_path / "old.sqlite", [store.SCHEMA])
    images = ImageStore(state)
    assert images.find("x:1").target == target_of(ours)
    assert images.find(dangling.id).target == target_of(dangling)
    assert images.tagged_ns(ours.id) == 77
    state.close()


def test_the_manifest_of_a_config_is_found_in_an_index():
    config = b"{}"
    manifest = msgspec.json.encode(
        {"schemaVersion": 2, "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": 2}, "layers": []}
    )
    attestation = b'{"schemaVersion":2,"layers":[]}'
    index = msgspec.json.encode(
        {
            "schemaVersion": 2,
            "manifests": [
                {"mediaType": OCI_MANIFEST, "digest": digest_of(document), "size": len(document)}
                for document in (attestation, manifest)
            ],
        }
    )
    came = {digest_of(document): document for document in (attestation, manifest)}
    target, digest = target_with(index, OCI_INDEX, came, digest_of(config))
    assert digest == digest_of(manifest)
    assert [variant.image_id for variant in target.variants] == ["", digest_of(config)]
    with pytest.raises(InvalidParameter, match="no manifest of the config"):
        target_with(index, OCI_INDEX, {}, digest_of(config))
    with pytest.raises(InvalidParameter, match="is not of the config"):
        target_with(manifest, OCI_MANIFEST, {}, digest_of(b"other"))
    with pytest.raises(InvalidParameter, match="unsupported media type"):
        target_with(manifest, "text/plain", {}, digest_of(config))
