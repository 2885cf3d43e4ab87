"""What steps get of the client: SSH agents, images of its layouts, what it allows."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.support.engine import BUSYBOX, Engine
from tests.support.files import write_files
from tests.support.ssh import key, needs_ssh, with_ssh_add

__all__ = ["key"]

_WITH_SSH_ADD = f"FROM {BUSYBOX}\nCOPY ssh /\n"


@needs_ssh
def test_a_key_is_asked_for_and_stays_at_the_client(engine: Engine, tmp_path: Path, key: Path) -> None:
    with_ssh_add(tmp_path / "c", f"{_WITH_SSH_ADD}RUN --mount=type=ssh ssh-add -L\nRUN ls -a /run /tmp\n")
    archive = tmp_path / "image.tar"
    built = engine.darse(
        "build", "--no-cache", "--ssh", f"default={key}", "--output", f"type=oci,dest={archive}", str(tmp_path / "c")
    ).ok()
    assert "comment-of-the-key" in built.err + built.out
    secret = key.read_bytes().splitlines()[1]
    with tarfile.open(archive) as tar:
        for one in tar:
            content = tar.extractfile(one)
            assert content is None or secret not in content.read()
            assert "agent" not in one.name
    assert secret.decode() not in built.err + built.out


@needs_ssh
def test_an_agent_of_the_client_is_forwarded_under_its_id(engine: Engine, tmp_path: Path, key: Path) -> None:
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            agent.stdout.readline()
            environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
            subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True)
            with_ssh_add(tmp_path / "c", f"{_WITH_SSH_ADD}RUN --mount=type=ssh,id=other ssh-add -L\n")
            for value in (f"other={socket}", "other"):
                arguments = ("build", "--no-cache", "--ssh", value, str(tmp_path / "c"))
                built = engine.darse(*arguments, env={"SSH_AUTH_SOCK": str(socket)}).ok()
                assert "comment-of-the-key" in built.err + built.out
        finally:
            agent.terminate()


def test_an_agent_that_is_required_and_not_there(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\nRUN --mount=type=ssh,required=true true\n"})
    failed = engine.darse("build", str(tmp_path))
    assert 'no SSH key "default" forwarded from the client' in failed.err
    failed = engine.darse("build", "--ssh", "default", str(tmp_path), env={"SSH_AUTH_SOCK": ""})
    assert "make sure SSH_AUTH_SOCK is set" in failed.err
    failed = engine.darse("build", "--ssh", f"default={tmp_path}/none", str(tmp_path))
    assert "no such file or directory" in failed.err


def test_a_connection_that_nobody_was_asked_for_is_refused(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM {BUSYBOX}\n"})
    engine.darse("build", "-q", str(tmp_path)).ok()
    assert engine.api("POST", "/build/agents?connection=guessed").status == 404


def test_steps_may_do_what_the_client_allows(engine: Engine, tmp_path: Path) -> None:
    write_files(tmp_path / "n", {"Dockerfile": f"FROM {BUSYBOX}\nRUN --network=host ls /sys/class/net\n"})
    refused = engine.darse("build", str(tmp_path / "n"))
    assert "--allow network.host" in refused.err
    engine.darse("build", "-q", "--allow", "network.host", str(tmp_path / "n")).ok()
    # Also what another was allowed to make, and is in the cache.
    assert "--allow network.host" in engine.darse("build", str(tmp_path / "n")).err
    text = f"FROM {BUSYBOX}\nRUN --security=insecure grep CapEff /proc/self/status > /caps\nCMD cat /caps\n"
    write_files(tmp_path / "s", {"Dockerfile": text})
    refused = engine.darse("build", str(tmp_path / "s"))
    assert "--allow security.insecure" in refused.err
    image = engine.darse("build", "-q", "--allow", "security.insecure", str(tmp_path / "s")).ok().line
    capabilities = int(engine.darse("run", "--rm", image).ok().out.split()[1], 16)
    assert capabilities & (1 << 21)  # CAP_SYS_ADMIN
    assert "invalid entitlement: everything" in engine.darse("build", "--allow", "everything", str(tmp_path / "s")).err


def test_security_options_are_the_steps(engine: Engine, tmp_path: Path) -> None:
    text = f"FROM {BUSYBOX}\nRUN grep -E 'Seccomp:|NoNewPrivs' /proc/self/status | tr -d '\\n\\t'\n"
    write_files(tmp_path, {"Dockerfile": text})
    plain = engine.darse("build", "--no-cache", str(tmp_path)).ok()
    assert "NoNewPrivs:0Seccomp:2" in plain.err + plain.out
    arguments = ("--security-opt", "seccomp=unconfined", "--security-opt", "no-new-privileges")
    for client in (engine.darse, engine.docker):
        built = client("build", "--no-cache", *arguments, str(tmp_path), env={"DOCKER_BUILDKIT": "0"}).ok()
        assert "NoNewPrivs:1Seccomp:0" in built.err + built.out


def test_an_image_of_a_layout_is_a_context(engine: Engine, tmp_path: Path) -> None:
    write_files(
        tmp_path / "base", {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo from the layout > /layout\nENV OF=layout\n"}
    )
    archive, layout = tmp_path / "base.tar", tmp_path / "layout"
    engine.darse(
        "build", "-q", "-t", "of/layout:v1", "--output", f"type=oci,dest={archive}", str(tmp_path / "base")
    ).ok()
    layout.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(layout)
    engine.darse("rmi", "-f", "of/layout:v1").ok()
    text = (
        "FROM base AS b\nRUN echo $OF > /of\n"
        "FROM scratch\nCOPY --from=b /of /layout /\nCOPY --from=base /layout /again\n"
    )
    write_files(tmp_path / "c", {"Dockerfile": text})
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    config = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())["config"]["digest"]
    for value in (str(layout), f"{layout}:v1", f"{layout}@{digest}"):
        output = tmp_path / "out"
        arguments = ("--build-context", f"base=oci-layout://{value}", "--output", str(output))
        engine.darse("build", "-q", "--no-cache", *arguments, str(tmp_path / "c")).ok()
        assert (output / "of").read_text() == "layout\n"
        assert (output / "layout").read_text() == (output / "again").read_text() == "from the layout\n"
        shutil.rmtree(output)
    assert config not in engine.darse("images", "-aq", "--no-trunc").ok().out.split()
    blob = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
    layer = json.loads(blob.read_text())["layers"][-1]["digest"].removeprefix("sha256:")
    path = layout / "blobs" / "sha256" / layer
    path.write_bytes(path.read_bytes().replace(b"from the layout", b"from elsewhere!"))
    assert hashlib.sha256(path.read_bytes()).hexdigest() != layer
    write_files(tmp_path / "other", {"Dockerfile": "FROM base\n"})
    engine.darse("builder", "prune", "-af").ok()
    for image in engine.darse("images", "-aq", "--no-trunc").ok().out.split():
        engine.darse("rmi", "-f", image)
    failed = engine.darse("build", "--build-context", f"base=oci-layout://{layout}", str(tmp_path / "other"))
    assert failed.status == 1, failed
    missing = engine.darse("build", "--build-context", f"base=oci-layout://{tmp_path}/no", str(tmp_path / "other"))
    assert "no such file or directory" in missing.err
