"""`build history` and `explain` of builds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until

_CLASSIC = {"DOCKER_BUILDKIT": "0"}
_TEXT = (
    f"FROM {BUSYBOX} AS one\nRUN echo first >/made\nFROM {BUSYBOX}\nCOPY --from=one /made /\nRUN echo said; cat /made\n"
)


def test_before_the_first_build_there_is_nothing(engine: Engine) -> None:
    assert engine.darse("build", "history").ok().out.split() == "BUILD ID NAME STATE CREATED TOOK STEPS CACHED".split()
    assert "there was none yet" in engine.darse("build", "history", "app").err


@pytest.mark.parametrize("name", ["docker", "darse"])
def test_a_build_is_remembered_whoever_has_asked_for_it(engine: Engine, name: str) -> None:
    client = getattr(engine, name)
    client("build", "-t", f"team/{name}:1", "-", input=_TEXT.replace("said", name), env=_CLASSIC, timeout=120).ok()
    listed = engine.darse("build", "history").ok().out.splitlines()[1]
    assert f"team/{name}:1" in listed
    assert " built " in listed
    timed = engine.darse("builder", "history", f"team/{name}:1").ok().out
    assert f"RUN echo {name}" in timed
    assert "exporting to image" in timed
    logged = engine.darse("build", "history", "--logs", f"team/{name}:1").ok().out
    assert logged.splitlines()[-2:] == [name, "first"]
    shown = engine.darse("explain", f"team/{name}:1").ok().out
    assert "[one 2/2] RUN echo first" in shown


def test_a_build_is_found_by_its_id_and_its_images(engine: Engine) -> None:
    image = engine.darse("build", "-q", "-", input=f"FROM {BUSYBOX}\nRUN echo by id\n", timeout=120).ok().line
    build = json.loads(engine.darse("build", "history", "--format", "json").ok().out)[0]
    assert build["Image"] == image
    for reference in (build["ID"], build["ID"][:8], image, image[7:19]):
        assert json.loads(engine.darse("explain", reference, "--format", "json").ok().out)["ID"] == build["ID"]


def test_a_build_that_failed_says_where(engine: Engine) -> None:
    text = f"FROM {BUSYBOX}\nRUN echo words; exit 7\nRUN echo never\n"
    assert engine.darse("build", "-t", "failing", "-", input=text, timeout=120).status != 0
    found = json.loads(engine.darse("explain", "failing", "--format", "json").ok().out)
    assert found["State"] == "failed"
    assert "exit code: 7" in found["Error"]
    states = {step["Name"]: step["State"] for step in found["Steps"]}
    assert states["[2/3] RUN echo words; exit 7"] == "failed"
    assert states["[3/3] RUN echo never"] == "not reached"
    assert "words" in engine.darse("build", "history", "--logs", "failing").ok().out


def test_a_build_that_runs_is_listed_and_one_that_is_cancelled_remembered(engine: Engine) -> None:
    text = f"FROM {BUSYBOX}\nRUN echo begun; sleep 1000\n"
    client = engine.darse.popen("build", "-t", "long", "--progress=plain", "-", stderr=subprocess.STDOUT)
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(text.encode())
    client.stdin.close()
    while b"begun" not in client.stdout.readline():
        pass
    found = json.loads(engine.darse("explain", "long", "--format", "json").ok().out)
    assert found["State"] == "running"
    assert [step["State"] for step in found["Steps"] if "sleep" in step["Name"]] == ["running"]
    client.kill()
    client.stdout.close()
    client.wait()

    def cancelled() -> bool:
        return " cancelled " in engine.darse("build", "history").ok().out.splitlines()[1]

    wait_until(cancelled, 30, "the end of the build")


def test_the_graph_is_an_image_too(engine: Engine) -> None:
    engine.darse("build", "-q", "-t", "drawn", "-", input=_TEXT.replace("said", "<&>"), timeout=120)
    root = ElementTree.fromstring(engine.darse("explain", "drawn", "--format", "svg").ok().out)
    titles = [found.text for found in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any("RUN echo <&>" in (title or "") for title in titles)
    boxes = len(list(root.iter("{http://www.w3.org/2000/svg}rect")))
    assert boxes == len(titles)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > boxes - 2


def test_what_is_no_build_is_said_to_be_none(engine: Engine) -> None:
    assert "No such container: nothing" in engine.darse("explain", "nothing").err
    assert "no build nothing" in engine.darse("build", "history", "nothing").err
    assert "--logs are those of one build" in engine.darse("build", "history", "--logs").err
    assert "json, svg, or none" in engine.darse("explain", "--last", "build", "drawn", "--format", "{{.ID}}").err


def test_the_history_outlives_the_engine(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nRUN echo kept\n")
    engine.darse("build", "-q", "-t", "kept", str(tmp_path), timeout=120).ok()
    engine.restart()
    assert "kept" in engine.darse("build", "history", "--logs", "kept").ok().out
