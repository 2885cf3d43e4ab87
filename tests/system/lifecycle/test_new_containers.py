"""What a new container finds: its working directory, its environment, memory and mounts; what is made of it."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.crafted import crafted_image, directory
from tests.support.engine import BUSYBOX, Client, Engine


def names(engine: Engine, path: str) -> list[str]:
    answer = engine.api("GET", f"/containers/one/archive?path={path}")
    assert answer.status == 200, answer.body
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        return archive.getnames()


@pytest.fixture
def modes(engine: Engine) -> Iterator[Engine]:
    made = crafted_image("modes", entries=[directory("root", 0o700), directory("opt"), directory("opt/private", 0o710)])
    engine.docker("load", input=made).ok()
    yield engine
    engine.remove_all()
    engine.docker("rmi", "modes").ok()


def test_the_working_directory_is_made_with_the_container(cli: Client, tmp_path: Path) -> None:
    cli("create", "--name", "one", "-w", "/home/foo/bar", BUSYBOX, "sh", "-c", "pwd; stat -c '%a %u' . ..").ok()
    cli("cp", "one:/home/foo/bar", str(tmp_path)).ok()
    assert (tmp_path / "bar").is_dir()
    assert cli("start", "-a", "one").ok().out == "/home/foo/bar\n755 0\n755 0\n"


def test_a_file_in_place_of_the_working_directory(cli: Client) -> None:
    done = cli("create", "-w", "/etc/passwd/x", BUSYBOX)
    assert (done.status, "is not a directory" in done.err) == (1, True), done.err
    assert cli("ps", "-aq").out == ""


def test_the_working_directory_is_shown_cleaned(engine: Engine) -> None:
    for given, shown in (("/tmp/", "/tmp"), ("//srv/./x/..", "/srv"), ("", "")):
        made = engine.api("POST", "/containers/create", {"Image": BUSYBOX, "WorkingDir": given}).json()["Id"]
        assert engine.api("GET", f"/containers/{made}/json").json()["Config"]["WorkingDir"] == shown


def test_a_link_of_the_image_leads_the_working_directory_nowhere_else(engine: Engine, tmp_path: Path) -> None:
    engine.docker("create", "--name", "one", BUSYBOX).ok()
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        member = tarfile.TarInfo("out")
        member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(member)
    engine.api("PUT", "/containers/one/archive?path=/", (tmp_path / "link.tar").read_bytes())
    image = engine.docker("commit", "one").ok().line
    engine.api("POST", "/containers/create?name=two", {"Image": image, "WorkingDir": "/out/made"})
    assert not (tmp_path / "made").exists()
    engine.docker("rm", "one", "two")
    engine.docker("rmi", image).ok()


def test_an_empty_home_is_none(cli: Client) -> None:
    assert "HOME=/root\n" in cli("run", "--rm", "-e", "HOME=", BUSYBOX, "env").ok().out


def test_archives_of_the_root_by_its_names(engine: Engine) -> None:
    engine.docker("create", "--name", "one", BUSYBOX).ok()
    wanted = names(engine, "/.")
    assert {name.partition("/")[0] for name in wanted} == {"."}
    for path in ("./", "//./", ".", "/./"):
        assert names(engine, path) == wanted
    assert {name.partition("/")[0] for name in names(engine, "/etc/./")} == {"."}


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize(
    ("target", "options", "mode"),
    [
        ("/root", "", "700"),
        ("/opt/private", "", "710"),
        ("/opt", "size=1m", "755"),
        ("/new", "", "1777"),
    ],
)
def test_memory_has_the_mode_of_what_it_hides(
    modes: Engine, runtime: str, target: str, options: str, mode: str
) -> None:
    wanted = f"{target}:{options}" if options else target
    told = modes.docker("run", "--rm", "--runtime", runtime, "--tmpfs", wanted, "modes", "stat", "-c", "%a", target)
    assert told.ok().line == mode
    if not options:
        mount = ("--mount", f"type=tmpfs,dst={target}")
        assert (
            modes.docker("run", "--rm", "--runtime", runtime, *mount, "modes", "stat", "-c", "%a", target).line == mode
        )


def test_memory_has_the_mode_that_is_asked_for(modes: Engine) -> None:
    run = ("run", "--rm", "--tmpfs", "/root:mode=1770", "modes")
    assert modes.docker(*run, "stat", "-c", "%a", "/root").ok().line == "1770"


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_bind_without_recursion_shows_no_mount_below(engine: Engine, tmp_path: Path, runtime: str) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "beside").touch()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", below], check=True)
    try:
        (below / "seen").touch()
        mount = f"type=bind,src={tmp_path},dst=/d"
        run = ("run", "--rm", "--runtime", runtime, "--mount")
        assert engine.docker(*run, mount, BUSYBOX, "ls", "/d/below").ok().out == "seen\n"
        alone = engine.docker(*run, f"{mount},bind-recursive=disabled", BUSYBOX, "ls", "/d", "/d/below").ok()
        assert alone.out == "/d:\nbelow\nbeside\n\n/d/below:\n"
    finally:
        subprocess.run(["umount", below], check=True)


def test_inherited_anonymous_volumes_go_with_the_last_container(cli: Client) -> None:
    cli("run", "--name", "parent", "-v", "/anon", "-v", "named:/named", BUSYBOX, "true").ok()
    cli("run", "--name", "child", "--volumes-from", "parent", BUSYBOX, "true").ok()
    cli("rm", "parent").ok()
    assert len(cli("volume", "ls", "-q").out.split()) == 2
    cli("rm", "-v", "child").ok()
    assert cli("volume", "ls", "-q").out.split() == ["named"]


def test_ancestors_are_images_that_one_was_made_from(cli: Client) -> None:
    cli("create", "--name", "base", BUSYBOX).ok()
    first = cli("commit", "--change", "LABEL a=1", "base", "kin:first").ok().line
    second = cli("commit", "--change", "LABEL a=2", "base", "kin:second").ok().line
    cli("create", "--name", "of-first", "kin:first").ok()
    cli("create", "--name", "of-second", "kin:second").ok()
    cli("run", "--name", "grown", "kin:first", "touch", "/x").ok()
    third = cli("commit", "grown", "kin:third").ok().line
    cli("create", "--name", "of-third", "kin:third").ok()

    def found(image: str) -> set[str]:
        return set(cli("ps", "-a", "--filter", f"ancestor={image}", "--format", "{{.Names}}").ok().out.split())

    assert found("kin:first") == {"of-first", "grown", "of-third"}
    assert found("kin:second") == {"of-second"}
    assert found(third) == {"of-third"}
    assert found(BUSYBOX) == {"base", "of-first", "of-second", "grown", "of-third"}
    cli("rm", "of-first", "of-second", "of-third", "grown", "base").ok()
    cli("rmi", third, second, first).ok()


def test_a_list_shows_the_id_when_the_name_means_another_image(cli: Client) -> None:
    cli("tag", BUSYBOX, "app:1").ok()
    cli("create", "--name", "old", "app:1").ok()

    def shown() -> str:
        return cli("ps", "-a", "--no-trunc", "--filter", "name=old", "--format", "{{.Image}}").ok().line

    assert shown() == "app:1"
    image = cli("commit", "--change", "LABEL a=b", "old", "app:1").ok().line
    before = cli("inspect", "--format", "{{.Image}}", "old").ok().line
    assert shown() == before != image
    cli("tag", BUSYBOX, "app:1").ok()
    assert shown() == "app:1"
    cli("rmi", "-f", "app:1").ok()
    assert shown() == before
    cli("rm", "old").ok()
    cli("rmi", image)


def layer_of(cli: Client, image: str) -> list[str]:
    """The names in the last layer of an image."""
    with tarfile.open(fileobj=io.BytesIO(cli("save", image).ok().raw)) as saved:
        layers = json.load(saved.extractfile("manifest.json"))[0]["Layers"]  # type: ignore[arg-type]
        with tarfile.open(fileobj=saved.extractfile(layers[-1])) as layer:
            return sorted(f"/{name}" for name in layer.getnames())


def test_a_committed_layer_holds_what_diff_shows(cli: Client) -> None:
    script = "mkdir -p /made/a:b /tmp/x; echo 1 > '/made/a:b/f'; touch /etc/new; chmod 700 /bin; chmod 755 /bin"
    cli("run", "--name", "changed", BUSYBOX, "sh", "-c", script).ok()
    cli("commit", "changed", "layer:1").ok()
    shown = sorted(line.partition(" ")[2] for line in cli("diff", "changed").ok().out.splitlines())
    assert layer_of(cli, "layer:1") == shown
    assert "/etc/new" in shown
    cli("run", "--name", "idle", BUSYBOX, "true").ok()
    cli("commit", "--change", "LABEL idle=1", "idle", "layer:2").ok()
    cli("run", "--name", "one", BUSYBOX, "touch", "/one").ok()
    cli("commit", "one", "layer:3").ok()
    assert layer_of(cli, "layer:3") == ["/one"]
    cli("rm", "changed", "idle", "one").ok()
    cli("rmi", "layer:1", "layer:2", "layer:3").ok()


def test_a_commit_expands_variables_of_the_container(cli: Client) -> None:
    cli("create", "--name", "env", "-e", "PATH=/bin", "-e", "B=2", BUSYBOX).ok()
    before = cli("inspect", "--format", "{{json .Config.Env}}", "env").ok().line
    cli("commit", "--change", "ENV PATH=/x:$PATH", "env", "env:1").ok()
    after = cli("image", "inspect", "--format", "{{json .Config.Env}}", "env:1").ok().line
    assert after == before.replace("/bin", "/x:/bin")
    cli("rm", "env").ok()
    cli("rmi", "env:1").ok()
