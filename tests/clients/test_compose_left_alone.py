"""What a profile leaves out, and what the files have no more, is not touched by a command that names no service."""

from __future__ import annotations

import pytest
from tests.support.compose import OURS, THEIRS, Shop, needs_compose
from tests.support.engine import BUSYBOX

TOOLS = [pytest.param(OURS, id="ours"), pytest.param(THEIRS, id="theirs", marks=needs_compose)]


def _file(*services: str) -> str:
    said = "sh -c 'echo out; echo err >&2; exec sleep 1000'"
    lines = {
        name: f'{{image: {BUSYBOX}, command: "{said}", stop_grace_period: 0s{extra}}}'
        for name, extra in {"web": "", "debug": ", profiles: [tools]", "gone": ""}.items()
    }
    return "name: shop\nservices:\n" + "".join(f"  {name}: {lines[name]}\n" for name in services)


@pytest.fixture
def half(shop: Shop) -> Shop:
    """Three services that run: one is enabled, one is of a profile, one is not in the file."""
    shop.write(_file("web", "debug", "gone"))
    assert shop.run(OURS, "--profile", "tools", "up", "-d").returncode == 0
    shop.write(_file("web", "debug"))
    return shop


def states(shop: Shop) -> dict[str, str]:
    shown = shop.run(OURS, "ps", "-a", "--format", "{{.Service}} {{.State}}").stdout
    return dict(line.split() for line in shown.splitlines())


@pytest.mark.parametrize("tool", TOOLS)
def test_only_what_is_enabled_is_changed(half: Shop, tool: list[str]) -> None:
    rest = {"debug": "running", "gone": "running"}
    for words, state in (
        (["pause"], "paused"),
        (["unpause"], "running"),
        (["kill"], "exited"),
        (["start"], "running"),
        (["stop"], "exited"),
    ):
        assert half.run(tool, *words).returncode == 0
        assert states(half) == {"web": state, **rest}, words
    assert half.run(tool, "rm", "-f").stdout == "Going to remove shop-web-1\n"
    assert states(half) == rest
    assert half.run(tool, "kill").returncode == 0
    assert half.run(tool, "down").returncode == 0
    assert states(half) == rest


@pytest.mark.parametrize("tool", TOOLS)
def test_orphans_go_when_that_is_asked_for_and_a_profile_s_services_when_it_is_active(
    half: Shop, tool: list[str]
) -> None:
    half.run(tool, "down", "--remove-orphans")
    assert states(half) == {"debug": "running"}
    half.run(tool, "--profile", "tools", "down")
    assert states(half) == {}
    assert half.run(tool, "top").stdout == ""


@pytest.mark.parametrize("tool", TOOLS)
def test_logs_go_to_standard_output_whatever_they_came_from(half: Shop, tool: list[str]) -> None:
    done = half.run(tool, "logs", "--no-log-prefix")
    assert sorted(done.stdout.split()) == ["err", "out"]
    assert done.stderr == ""
