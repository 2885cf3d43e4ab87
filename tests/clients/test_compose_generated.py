"""Files put together at random of what the corpus has: docker compose v2 and `darse compose config` read them alike.

DARSE_GENERATED=1000 DARSE_GENERATED_SEED=7 pytest -m heavy tests/clients/test_compose_generated.py
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import compose_cases
from tests.support.clients import found

COMPOSE = found("docker-compose")
DARSE = str(Path(sys.executable).with_name("darse"))
_RESOURCES = ("networks", "volumes", "configs", "secrets")
# What refers to files that are not there, or to other services.
_LEFT_OUT = frozenset({"extends", "env_file", "label_file", "depends_on", "links", "volumes_from", "network_mode"})

pytestmark = pytest.mark.skipif(COMPOSE is None, reason="docker compose is not installed (make clients)")


def _documents() -> Iterator[dict[str, Any]]:
    for name in compose_cases.names():
        case = compose_cases.case(name)
        for file, text in case.files.items():
            if file.endswith((".yml", ".yaml")) and "stdout" in case.results:
                try:
                    documents = list(yaml.safe_load_all(text))
                except yaml.YAMLError:
                    continue  # tags of compose's own
                yield from (one for one in documents if isinstance(one, dict))


def _pool() -> tuple[list[tuple[str, Any]], dict[str, dict[str, Any]]]:
    """The attributes of services, each with a value; and the resources at the top, by their names."""
    attributes: dict[str, tuple[str, Any]] = {}
    resources: dict[str, dict[str, Any]] = {kind: {} for kind in _RESOURCES}
    for document in _documents():
        for service in (document.get("services") or {}).values():
            for key, value in (service or {}).items():
                if key not in _LEFT_OUT:
                    attributes[json.dumps([key, value], default=str)] = (key, value)
        for kind in _RESOURCES:
            resources[kind] |= document.get(kind) or {}
    return list(attributes.values()), resources


def _generated(chance: random.Random, attributes: list[tuple[str, Any]], resources: dict[str, Any]) -> str:
    services = {}
    for number in range(chance.randint(1, 4)):
        chosen = dict(chance.sample(attributes, chance.randint(2, 9)))
        if not {"image", "build", "provider"} & chosen.keys():
            chosen["image"] = "busybox"
        services[f"s{number}"] = chosen
    return json.dumps({"name": "generated", "services": services, **resources}, indent=1, default=str)


def _config(program: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/root"}
    return subprocess.run(
        [*program, "config"], cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_generated_files_are_read_alike(tmp_path: Path, tell: Callable[[str], None]) -> None:
    count = int(os.environ.get("DARSE_GENERATED", "300"))
    seed = int(os.environ.get("DARSE_GENERATED_SEED", "0")) or random.randrange(1, 1 << 31)
    chance = random.Random(seed)
    attributes, resources = _pool()
    refused, different = 0, []
    for number in range(count):
        text = _generated(chance, attributes, resources)
        (tmp_path / "compose.yaml").write_text(text)
        theirs, ours = _config([str(COMPOSE)], tmp_path), _config([DARSE, "compose"], tmp_path)
        refused += theirs.returncode != 0
        if (theirs.returncode == 0) != (ours.returncode == 0) or theirs.stdout.rstrip() != ours.stdout.rstrip():
            (tmp_path / f"different-{number}.json").write_text(text)
            different.append((number, theirs.stderr[-300:], ours.stderr[-300:]))
    tell(f"generated compose files: {count}, refused by both: {refused}; DARSE_GENERATED_SEED={seed}")
    assert not different, (seed, str(tmp_path), different[:5])
