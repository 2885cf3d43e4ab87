"""Commands that are run in containers: after their start, before their stop, and when watched files change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from darse.compose.loading.loader import LoadSettings
from darse.compose.model.build import ServiceHook
from darse.compose.model.service import Service
from darse.compose.operations.hooks import exec_config
from darse.compose.project import ProjectFiles, ProjectOptions

_HOOK = "{command: ./x 'a b', user: '5', privileged: true, working_dir: /w, environment: ENVIRONMENT}"
_FILE = """
name: p
services:
  web:
    image: busybox
    post_start: [HOOK]
    pre_stop: [HOOK]
    develop: {watch: [{path: ., action: sync+exec, target: /t, exec: HOOK}]}
""".replace("HOOK", _HOOK)


def _hook(service: Service, kind: str) -> ServiceHook:
    if kind == "develop":
        assert service.develop is not None
        hook: Any = service.develop.watch[0].exec
        return ServiceHook(**{name: getattr(hook, name) for name in msgspec.structs.asdict(hook)})
    (found,) = getattr(service, kind)
    assert isinstance(found, ServiceHook)
    return found


@pytest.mark.parametrize("kind", ["post_start", "pre_stop", "develop"])
@pytest.mark.parametrize("environment", ["{A: 1, GONE: }", "[A=1, GONE]"])
def test_every_attribute_of_a_hook_reaches_the_exec(kind: str, environment: str, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(_FILE.replace("ENVIRONMENT", environment))
    options = ProjectOptions(directory=str(tmp_path), files=[str(file)])
    project = ProjectFiles(options, {}, lambda _: None).project([], LoadSettings())
    made = exec_config(_hook(project.services["web"], kind))
    assert (made.Cmd, made.User, made.Privileged, made.WorkingDir) == (["./x", "a b"], "5", True, "/w")
    assert made.Env == ["A=1", "GONE"]
    assert (made.AttachStdout, made.AttachStderr) == (True, True)
