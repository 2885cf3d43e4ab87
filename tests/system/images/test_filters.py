"""`images --filter` and `image prune --filter`, each filter once, by both commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.support.engine import Client, Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made, tar

pytestmark = needs_registry
# Each with a label of its own, and one that the two newer ones share.
DATES = {"old": "2001-01-01T00:00:00Z", "middle": "2011-01-01T00:00:00Z", "new": "2021-01-01T00:00:00Z"}


class Shelf:
    """Three tagged images of different age, and one without a tag."""

    def __init__(self, cli: Client, registry: Registry) -> None:
        self.cli, self.address = cli, registry.address
        for name, created in DATES.items():
            labels = {"name": name, **({"kind": "newer"} if name != "old" else {})}
            made = Made(tar({name: b"1"}), created=created, Labels=labels)
            made.push(registry.address, f"shelf/{name}", "1")
            cli("pull", "-q", self.name(name)).ok()
        made = Made(tar({"dangling": b"1"}), created="2005-01-01T00:00:00Z", Labels={"name": "dangling"})
        made.push(registry.address, "shelf/dangling", "1")
        cli("pull", "-q", f"{registry.address}/shelf/dangling:1").ok()
        # Another image takes the name over.
        other = Made(tar({"dangling": b"2"}), created="2015-01-01T00:00:00Z", Labels={"name": "successor"})
        other.push(registry.address, "shelf/dangling", "1")
        cli("pull", "-q", f"{registry.address}/shelf/dangling:1").ok()

    def name(self, name: str) -> str:
        return f"{self.address}/shelf/{name}:1"

    def listed(self, *filters: str) -> set[str]:
        """The labels `name` of the images that match all filters."""
        options = [word for one in filters for word in ("--filter", one)]
        ids = self.cli("images", "-q", "--no-trunc", *options).ok().out.split()
        return set(self.labels(ids))

    def labels(self, ids: list[str]) -> list[str]:
        if not ids:
            return []
        shown = self.cli("image", "inspect", "--format", '{{index .Config.Labels "name"}}', *ids).ok().out
        return [name for name in shown.split() if name]


@pytest.fixture
def shelf(request: pytest.FixtureRequest, cli: Client, engine: Engine) -> Iterator[Shelf]:
    for image in engine.api("GET", "/images/json?all=1").json():
        engine.api("DELETE", f"/images/{image['Id']}?force=1")
    with Registry() as registry:
        yield Shelf(cli, registry)
        for image in engine.api("GET", "/images/json?all=1").json():
            engine.api("DELETE", f"/images/{image['Id']}?force=1")


ALL = {"old", "middle", "new", "dangling", "successor"}
LISTS: list[tuple[Callable[[Shelf], tuple[str, ...]], set[str]]] = [
    (lambda _: ("dangling=true",), {"dangling"}),
    (lambda _: ("dangling=false",), ALL - {"dangling"}),
    (lambda _: ("label=kind",), {"middle", "new"}),
    (lambda _: ("label=kind=newer", "label=name=new"), {"new"}),
    (lambda _: ("label=name=old", "dangling=true"), set()),
    (lambda shelf: (f"before={shelf.name('middle')}",), {"old", "dangling"}),
    (lambda shelf: (f"since={shelf.name('old')}",), ALL - {"old"}),
    (lambda shelf: (f"since={shelf.name('old')}", f"before={shelf.name('new')}"), {"middle", "dangling", "successor"}),
    (lambda shelf: (f"reference={shelf.address}/shelf/m*",), {"middle"}),
    (lambda shelf: (f"reference={shelf.address}/*/*:1",), ALL - {"dangling"}),
    (lambda shelf: (f"reference={shelf.name('old')}", f"reference={shelf.name('new')}"), {"old", "new"}),
    (lambda _: ("until=2006-01-01",), {"old", "dangling"}),
]


@pytest.mark.parametrize(("filters", "expected"), LISTS)
def test_lists(shelf: Shelf, filters: Callable[[Shelf], tuple[str, ...]], expected: set[str]) -> None:
    assert shelf.listed(*filters(shelf)) == expected


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ((), ALL - {"dangling"}),
        (("-a",), set()),
        (("-a", "--filter", "until=2006-01-01"), {"middle", "new", "successor"}),
        (("-a", "--filter", "until=2006-01-01", "--filter", "label=name=old"), ALL - {"old"}),
        (("-a", "--filter", "label=kind=newer"), ALL - {"middle", "new"}),
        (("-a", "--filter", "label!=kind=newer"), {"middle", "new"}),
        (("-a", "--filter", "label!=kind"), {"middle", "new"}),
        (("--filter", "label=name=old"), ALL),
    ],
)
def test_prune(shelf: Shelf, options: tuple[str, ...], left: set[str]) -> None:
    done = shelf.cli("image", "prune", "-f", *options).ok()
    assert "Total reclaimed space: " in done.out
    assert shelf.listed() == left


def test_prune_keeps_what_a_container_uses(shelf: Shelf) -> None:
    shelf.cli("create", shelf.name("old"), "true").ok()
    shelf.cli("image", "prune", "-a", "-f").ok()
    assert shelf.listed() == {"old"}


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("images", "--filter", "nothing=1"), "invalid filter 'nothing'"),
        (("images", "--filter", "before=no/such:1"), "No such image: no/such:1"),
        (("image", "prune", "-f", "--filter", "until=yesterday"), "yesterday"),
        (("image", "prune", "-f", "--filter", "before=x"), "invalid filter 'before'"),
    ],
)
def test_what_is_no_filter(cli: Client, command: tuple[str, ...], text: str) -> None:
    done = cli(*command)
    assert done.status == 1
    assert text in done.err
