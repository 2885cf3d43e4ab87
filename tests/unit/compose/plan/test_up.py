"""Which containers, networks and volumes `up` makes, keeps, makes anew, starts and removes, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from darse.compose.desired import labels
from darse.compose.desired.references import resolved
from darse.compose.desired.resources import network_hash, volume_hash
from darse.compose.errors import ComposeError
from darse.compose.model.forms import to_project
from darse.compose.model.project import Project
from darse.compose.plan.actual import ActualContainer, ActualState
from darse.compose.plan.order import dependencies, ordered
from darse.compose.plan.steps import CREATE, RECREATE, REMOVE, RENAME, START, STOP, UpPlan
from darse.compose.plan.up import FORCE, NEVER, UpOptions, plan_up
from darse.wire.containers import MountPoint
from darse.wire.networks import IPAM, Network
from darse.wire.volumes import Volume

_IMAGE = "sha256:1"


def project_of(services: dict[str, Any], **more: Any) -> Project:
    """A project `p` whose services have an image and the default network."""
    full = {
        name: {"image": "busybox", **({} if "network_mode" in one else {"networks": {"default": None}}), **one}
        for name, one in services.items()
    }
    return to_project({"services": full, "networks": {"default": {"name": "p_default"}}, **more}, "p")


def state_of(project: Project) -> ActualState:
    """An engine on which this project is up, as a plan that was carried out has left it."""
    networks = {
        one.name: Network(
            Name=one.name,
            Id=f"id-{key}",
            Created="",
            Driver="bridge",
            IPAM=IPAM(),
            Options={},
            Labels={labels.PROJECT: "p", labels.NETWORK: key, labels.CONFIG_HASH: network_hash(one)},
        )
        for key, one in project.networks.items()
    }
    volumes = {
        one.name: Volume(
            CreatedAt="",
            Driver="local",
            Mountpoint="",
            Name=one.name,
            Options=None,
            Labels={labels.PROJECT: "p", labels.VOLUME: key, labels.CONFIG_HASH: volume_hash(one)},
        )
        for key, one in project.volumes.items()
    }
    ids = {name: f"id-{name}-1" for name in project.services}
    containers = []
    for name, service in project.services.items():
        found = labels.container_labels(project, name, resolved(service, ids), number=1, image=_IMAGE)
        mounts = tuple(
            MountPoint(Type="volume", Name=project.volumes[one.source].name, Source="", Destination=one.target)
            for one in service.volumes
        )
        connected = {project.networks[key].name: f"id-{key}" for key in service.networks}
        containers.append(ActualContainer(ids[name], f"p-{name}-1", name, 1, "running", found, connected, mounts))
    return ActualState(tuple(containers), networks, volumes)


def planned(project: Project, actual: ActualState, **options: Any) -> UpPlan:
    images = options.pop("images", dict.fromkeys(project.services, _IMAGE))
    return plan_up(project, actual, UpOptions(images=images, **options))


def done(plan: UpPlan) -> list[tuple[str, str]]:
    """What is changed: the actions, and on what."""
    changes = [(step.action, step.name) for step in plan.resources if step.action != "keep"]
    changes += [(step.action, step.name) for step in plan.containers if step.action != "keep"]
    return changes + [(step.action, step.name) for step in plan.starts if step.actual is None]


def change(actual: ActualState, service: str, **changes: Any) -> ActualState:
    containers = tuple(replace(one, **changes) if one.service == service else one for one in actual.containers)
    return replace(actual, containers=containers)


WEB_AND_STORE = {
    "web": {"depends_on": {"store": {"condition": "service_started", "restart": True, "required": True}}},
    "store": {"volumes": [{"type": "volume", "source": "data", "target": "/d"}]},
}
DATA = {"data": {"name": "p_data"}}


def test_everything_is_made_where_nothing_is() -> None:
    plan = planned(project_of(WEB_AND_STORE, volumes=DATA), ActualState())
    assert done(plan) == [
        (CREATE, "p_default"),
        (CREATE, "p_data"),
        (CREATE, "p-store-1"),
        (CREATE, "p-web-1"),
        (START, "p-store-1"),
        (START, "p-web-1"),
    ]
    store, web = plan.starts
    assert web.after == (store.key,)


def test_nothing_is_done_where_everything_is() -> None:
    project = project_of(WEB_AND_STORE, volumes=DATA)
    plan = planned(project, state_of(project))
    assert (done(plan), plan.changes, plan.warnings) == ([], False, [])


@pytest.mark.parametrize("state", ["exited", "created", "paused"])
def test_what_does_not_run_is_started(state: str) -> None:
    project = project_of(WEB_AND_STORE, volumes=DATA)
    assert done(planned(project, change(state_of(project), "web", state=state))) == [(START, "p-web-1")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": {labels.CONFIG_HASH: "other"}}, "its configuration changed"),
        ({"networks": {}}, "it is not on network default"),
        ({"networks": {"p_default": "another-id"}}, "it is not on network default"),
        ({"mounts": ()}, "volume data is not mounted"),
    ],
)
def test_a_changed_container_is_made_anew_and_says_why(changes: dict[str, Any], reason: str) -> None:
    project = project_of({"store": WEB_AND_STORE["store"]}, volumes=DATA)
    plan = planned(project, change(state_of(project), "store", **changes))
    (step,) = plan.containers
    assert (step.action, step.reason) == (RECREATE, reason)
    assert done(plan) == [(RECREATE, "p-store-1"), (START, "p-store-1")]


def test_a_new_image_makes_a_container_anew() -> None:
    project = project_of({"web": {}})
    (step,) = planned(project, state_of(project), images={"web": "sha256:2"}).containers
    assert (step.action, step.reason) == (RECREATE, "its image changed")


def test_services_that_are_restarted_with_another_stop_before_it_is_made_anew() -> None:
    project = project_of(WEB_AND_STORE, volumes=DATA)
    plan = planned(project, state_of(project), images={"web": _IMAGE, "store": "sha256:2"})
    assert done(plan) == [
        (RECREATE, "p-store-1"),
        (STOP, "p-web-1"),
        (START, "p-store-1"),
        (START, "p-web-1"),
    ]
    recreate = next(step for step in plan.containers if step.action == RECREATE)
    assert recreate.after == tuple(step.key for step in plan.containers if step.action == STOP)


def test_who_shares_the_namespace_of_a_new_container_is_made_anew_after_it() -> None:
    project = project_of({"app": {}, "sidecar": {"network_mode": "service:app"}})
    actual = state_of(project)
    assert done(planned(project, actual)) == []
    plan = planned(project, actual, images={"app": "sha256:2", "sidecar": _IMAGE})
    app, sidecar = plan.containers
    assert (sidecar.action, sidecar.reason) == (RECREATE, "the container of app that it shares is new")
    assert sidecar.after == (app.key,)


def test_policies_of_making_anew() -> None:
    project = project_of(WEB_AND_STORE, volumes=DATA)
    actual = state_of(project)
    changed = change(actual, "web", labels={labels.CONFIG_HASH: "other"})
    assert done(planned(project, changed, recreate=NEVER)) == []
    forced = planned(project, actual, recreate=FORCE, services=("web",))
    assert [name for action, name in done(forced) if action == RECREATE] == ["p-web-1"]
    forced = planned(project, actual, recreate=FORCE, recreate_dependencies=FORCE, services=("web",))
    assert [name for action, name in done(forced) if action == RECREATE] == ["p-store-1", "p-web-1"]


def test_scaling_keeps_the_lowest_numbers_and_removes_what_is_out_of_date_first() -> None:
    project = project_of({"web": {"scale": 3}})
    actual = state_of(project)
    assert done(planned(project, actual))[:2] == [(CREATE, "p-web-2"), (CREATE, "p-web-3")]
    one = actual.containers[0]
    two, three = (replace(one, id=f"id-{number}", name=f"p-web-{number}", number=number) for number in (2, 3))
    project.services["web"].scale = 1
    several = replace(actual, containers=(one, two, three))
    assert done(planned(project, several)) == [(REMOVE, "p-web-2"), (REMOVE, "p-web-3")]
    several = replace(actual, containers=(replace(one, labels={labels.CONFIG_HASH: "old"}), two, three))
    assert done(planned(project, several)) == [(REMOVE, "p-web-3"), (REMOVE, "p-web-1")]
    project.services["web"].scale = 0
    assert done(planned(project, actual)) == [(REMOVE, "p-web-1")]


def test_a_name_of_its_own_is_of_one_container() -> None:
    project = project_of({"web": {"scale": 2, "container_name": "mine"}})
    with pytest.raises(ComposeError, match="unique name"):
        planned(project, ActualState())


def test_what_was_to_take_anothers_place_and_did_not() -> None:
    project = project_of({"web": {}})
    actual = state_of(project)
    old = replace(actual.containers[0], labels={labels.CONFIG_HASH: "old"})
    new = replace(
        actual.containers[0],
        id="id-new",
        name="0123456789ab_p-web-1",
        state="created",
        labels={**actual.containers[0].labels, labels.REPLACES: "web-1"},
    )
    both = planned(project, replace(actual, containers=(old, new)))
    assert done(both) == [(REMOVE, new.name), (RECREATE, "p-web-1"), (START, "p-web-1")]
    alone = planned(project, replace(actual, containers=(new,)))
    assert done(alone) == [(RENAME, "p-web-1"), (START, "p-web-1")]


def test_orphans_are_named_and_removed_when_it_is_asked_for() -> None:
    project = project_of({"web": {}})
    actual = state_of(project_of({"web": {}, "gone": {}}))
    plan = planned(project, actual)
    assert done(plan) == []
    assert "Found orphan containers ([p-gone-1])" in plan.warnings[0]
    assert done(planned(project, actual, remove_orphans=True)) == [(REMOVE, "p-gone-1")]
    running = change(actual, "gone", labels={labels.ONE_OFF: "True"})
    assert planned(project, running).warnings == []


def test_networks_are_made_anew_and_volumes_are_kept_when_they_have_changed() -> None:
    project = project_of(WEB_AND_STORE, volumes=DATA)
    actual = state_of(project)
    project.networks["default"].internal = True
    project.volumes["data"].driver_opts = {"type": "tmpfs"}
    plan = planned(project, actual)
    assert (RECREATE, "p_default") in done(plan)
    assert (RECREATE, "p-web-1") in done(plan)
    assert not any(name == "p_data" for _, name in done(plan))
    assert "It is kept as it is" in plan.warnings[0]


def test_what_is_external_has_to_be_there() -> None:
    project = project_of({"web": {}})
    project.networks["default"].external = True
    with pytest.raises(ComposeError, match="declared as external, but could not be found"):
        planned(project, ActualState())
    project = project_of(WEB_AND_STORE, volumes={"data": {"name": "shared", "external": True}})
    with pytest.raises(ComposeError, match='external volume "shared" not found'):
        planned(project, ActualState())


def test_resources_of_others_are_used_with_a_warning() -> None:
    project = project_of(WEB_AND_STORE, volumes=DATA)
    actual = state_of(project)
    actual.networks["p_default"].Labels.clear()
    actual.volumes["p_data"].Labels = {labels.PROJECT: "other"}
    plan = planned(project, actual)
    assert done(plan) == []
    assert "was not created by compose" in plan.warnings[0]
    assert 'was created for project "other"' in plan.warnings[1]
    actual.networks["p_default"].Labels.update({labels.PROJECT: "p", labels.NETWORK: "front"})
    with pytest.raises(ComposeError, match="incorrect label"):
        planned(project, actual)


def test_services_are_in_the_order_of_what_they_depend_on() -> None:
    project = project_of(
        {
            "a": {"depends_on": {"c": {"condition": "service_started"}}},
            "b": {},
            "c": {"depends_on": {"b": {"condition": "service_healthy"}}},
        }
    )
    assert ordered(dependencies(project, ())) == ["b", "c", "a"]
    by_labels = (
        ActualContainer("1", "x", "x", labels={labels.DEPENDS_ON: "y:service_started:false,gone:x:true"}),
        ActualContainer("2", "y", "y", labels={labels.DEPENDS_ON: "x:service_started:false"}),
    )
    assert ordered(dependencies(None, by_labels)) == ["y", "x"]
