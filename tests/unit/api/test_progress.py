"""Docker's progress messages, made of the events of transfers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from darse.api import progress
from darse.image_spec import platforms
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_MANIFEST
from darse.images.model import Image, ImageConfig
from darse.images.progress import (
    DisplacedName,
    LayerProgress,
    LayerStage,
    LoadedImage,
    PulledImage,
    PullStarted,
    PushedTag,
    PushStarted,
    Report,
    TransferEvent,
)
from darse.images.references import parse

DIGEST = f"sha256:{'ab' * 32}"
SHORT = "abababababab"
NAME = parse("team/app:1")
TARGET = Descriptor(OCI_MANIFEST, DIGEST, 7)


def image(architecture: str = "amd64") -> Image:
    return Image(
        id=DIGEST,
        manifest=TARGET,
        config_size=1,
        config=ImageConfig(architecture=architecture, os="linux"),
        layers=(),
        size=0,
        stored_ns=0,
    )


def layer(stage: LayerStage, **more: Any) -> LayerProgress:
    return LayerProgress(DIGEST, stage, **more)


async def collected(messages: Any) -> list[dict[str, Any]]:
    return [message async for message in messages]


def operation(result: Any, *events: TransferEvent) -> progress.Operation[Any]:
    async def run(report: Report) -> Any:
        for event in events:
            report(event)
        return result

    return run


@pytest.mark.parametrize(
    ("current", "total", "text"),
    [
        (0, 100, f"[>{' ' * 50}]       0B/100B"),
        (50, 100, f"[{'=' * 25}>{' ' * 25}]      50B/100B"),
        (1_500_000, 1_500_000, f"[{'=' * 50}>]    1.5MB/1.5MB"),
        (1234, 0, " 1.234kB"),
        (20, 10, "     20B"),
    ],
)
def test_a_bar_has_dockers_width_and_numbers(current: int, total: int, text: str) -> None:
    assert progress.progress_bar(current, total) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_234_567, "1.235MB"), (5e18, "5000PB")]
)
def test_sizes_are_decimal_with_four_digits(size: float, text: str) -> None:
    assert progress.human_size(size) == text


async def test_a_pull_says_what_docker_says() -> None:
    pulled = PulledImage(NAME, image(), DIGEST, is_newer=True)
    events = [
        PullStarted(NAME),
        layer(LayerStage.PULLING),
        layer(LayerStage.RETRYING, retry_in=1),
        layer(LayerStage.DOWNLOADING, current=5, total=10),
        layer(LayerStage.PULLED),
        pulled,
    ]
    assert await collected(progress.pull_messages(operation(pulled, *events))) == [
        {"status": "Pulling from team/app", "id": "1"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": SHORT},
        {"status": "Retrying in 1 second", "progressDetail": {}, "id": SHORT},
        {
            "status": "Downloading",
            "progressDetail": {"current": 5, "total": 10},
            "progress": progress.progress_bar(5, 10),
            "id": SHORT,
        },
        {"status": "Pull complete", "progressDetail": {}, "id": SHORT},
        {"status": f"Digest: {DIGEST}"},
        {"status": "Status: Downloaded newer image for team/app:1"},
    ]


@pytest.mark.parametrize(("architecture", "warned"), [("amd64", False), ("s390x", True)])
async def test_a_pull_warns_of_another_platform_than_was_asked_for(architecture: str, warned: bool) -> None:
    pulled = PulledImage(NAME, image(architecture), DIGEST, is_newer=False)
    messages = await collected(progress.pull_messages(operation(pulled), platforms.parse("linux/amd64")))
    assert messages[0] == {"status": "Status: Image is up to date for team/app:1"}
    assert len(messages) == 1 + warned
    assert not warned or messages[1]["status"].endswith("wanted linux/amd64, actual: linux/s390x")


async def test_a_repository_without_tags_is_up_to_date() -> None:
    messages = await collected(progress.pull_all_messages(operation([]), NAME, platforms.host()))
    assert messages == [{"status": "Status: Image is up to date for team/app"}]


async def test_a_push_says_what_docker_says() -> None:
    index = Descriptor("index", "sha256:01", 1)
    events = [
        PushStarted(NAME),
        layer(LayerStage.MOUNTED, mounted_from="from/here"),
        layer(LayerStage.PRESENT),
        PushedTag(NAME, TARGET, index),
    ]
    assert await collected(progress.push_messages(operation([], *events))) == [
        {"status": "The push refers to repository [docker.io/team/app]"},
        {"status": "Mounted from from/here", "progressDetail": {}, "id": SHORT},
        {"status": "Layer already exists", "progressDetail": {}, "id": SHORT},
        {"status": f"1: digest: {DIGEST} size: 7"},
        {"progressDetail": {}, "aux": {"Tag": "1", "Digest": DIGEST, "Size": 7}},
        {
            "progressDetail": {},
            "aux": {
                "manifestPushedInsteadOfIndex": True,
                "originalIndex": {"mediaType": "index", "digest": "sha256:01", "size": 1},
                "selectedManifest": {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 7},
            },
        },
    ]


@pytest.mark.parametrize("quiet", [False, True])
async def test_a_load_says_what_docker_says(quiet: bool) -> None:
    events = [
        LayerProgress("some/layer.tar", LayerStage.LOADING, 1, 2),
        LoadedImage(image(), (NAME,), (DisplacedName(NAME, "sha256:02"),)),
        LoadedImage(image(), ()),
    ]
    messages = await collected(progress.load_messages(operation([], *events), quiet=quiet))
    bars = [one for one in messages if "progress" in one]
    assert [(one["id"], one["status"]) for one in bars] == ([] if quiet else [("some/layer.t", "Loading layer")])
    assert [one["stream"] for one in messages if "stream" in one] == [
        "The image team/app:1 already exists, renaming the old one with ID sha256:02 to empty string\n",
        "Loaded image: team/app:1\n",
        f"Loaded image ID: {DIGEST}\n",
    ]


async def test_an_import_says_its_image() -> None:
    assert await collected(progress.import_messages(operation(image()))) == [{"status": DIGEST}]


async def test_a_client_that_does_not_read_gets_the_last_number_of_each_stage() -> None:
    numbers = [layer(LayerStage.DOWNLOADING, current=number, total=1000) for number in range(1, 1000)]
    other = LayerProgress("sha256:cd", LayerStage.DOWNLOADING, 3, 4)
    events = [numbers[0], other, *numbers[1:], layer(LayerStage.RETRYING, retry_in=2), *numbers[:5]]
    messages = await collected(progress.pull_messages(operation(PulledImage(NAME, image(), DIGEST, False), *events)))
    assert [(one["id"], one["status"], one["progressDetail"].get("current")) for one in messages[:-1]] == [
        (SHORT, "Downloading", 999),
        ("cd", "Downloading", 3),
        (SHORT, "Retrying in 2 seconds", None),
        (SHORT, "Downloading", 5),
    ]


async def test_events_before_a_failure_come_before_it() -> None:
    async def fail(report: Report) -> PulledImage:
        report(PullStarted(NAME))
        raise OSError("broken")

    messages = progress.pull_messages(fail)
    assert (await anext(messages))["id"] == "1"
    with pytest.raises(OSError, match="broken"):
        await anext(messages)


async def test_the_operation_has_ended_when_its_messages_are_closed() -> None:
    ended = False

    async def wait(report: Report) -> PulledImage:
        nonlocal ended
        report(PullStarted(NAME))
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True
        raise AssertionError

    messages = progress.pull_messages(wait)
    await anext(messages)
    await messages.aclose()
    assert ended


async def test_the_messages_of_a_plugins_pull() -> None:
    events = (PullStarted(NAME), layer(LayerStage.DOWNLOADING), layer(LayerStage.PULLED))
    messages = await collected(progress.plugin_pull_messages(operation(None, *events), NAME))
    assert messages == [
        {"status": "1: Pulling from team/app"},
        {"status": "Downloading", "id": SHORT},
        {"status": "Pull complete", "id": SHORT},
        {"status": "Status: Downloaded newer image for team/app:1"},
    ]


async def test_the_messages_of_a_plugins_push() -> None:
    messages = await collected(
        progress.plugin_push_messages(operation(None, PushStarted(NAME), PushedTag(NAME, TARGET)))
    )
    assert messages == [
        {"status": "The push refers to repository [docker.io/team/app]"},
        {"status": f"1: digest: {DIGEST} size: 7"},
    ]
