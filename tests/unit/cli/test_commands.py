"""Commands about images, volumes, networks and the system: what they ask and what they print."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darse import __version__
from darse.cli.command_line import index
from darse.cli.command_line.completion import complete, split_line
from darse.cli.commands.system.explain import story
from darse.cli.entry import run as run_darse
from darse.cli.errors import ApiError, CliError
from darse.cli.output.progress import display
from darse.cli.settings.config import Settings
from darse.engine.configuration.table import OPTIONS
from tests.unit.cli.fake import run

_IMAGE: dict[str, Any] = {
    "Id": "sha256:" + "ab" * 32,
    "RepoTags": ["docker.io/library/nginx:1", "localhost:5000/a/b:x"],
    "RepoDigests": ["docker.io/library/nginx@sha256:" + "1" * 64, "other@sha256:" + "2" * 64],
    "Created": 1_000_000_000,
    "Size": 187_654_321,
    "SharedSize": -1,
    "Containers": -1,
    "Labels": None,
}
_DANGLING = {**_IMAGE, "Id": "sha256:" + "cd" * 32, "RepoTags": [], "RepoDigests": []}
_IMAGES = {("GET", "/images/json"): [_IMAGE, _DANGLING]}


def test_every_command_and_flag_has_a_description() -> None:
    missing = []
    for path, entry in index.COMMANDS.items():
        command, _ = importlib.import_module(entry.module).COMMANDS[path]
        missing += [f"{path} --{flag.name}" for flag in command.flags if not flag.help.strip() and not flag.hidden]
        missing += [path] if not command.summary.strip() else []
    missing += [f"darsed --{option.flag}" for option in OPTIONS if option.kind != "object" and not option.help.strip()]
    assert missing == []


def test_images(capsys: pytest.CaptureFixture[str]) -> None:
    run(["images", "--format", "{{.Repository}}|{{.Tag}}|{{.Digest}}|{{.ID}}|{{.Size}}|{{.UniqueSize}}"], _IMAGES)
    assert capsys.readouterr().out.splitlines() == [
        f"nginx|1|sha256:{'1' * 64}|abababababab|188MB|N/A",
        "localhost:5000/a/b|x|<none>|abababababab|188MB|N/A",
        "other|<none>||abababababab|188MB|N/A",
        "<none>|<none>|<none>|cdcdcdcdcdcd|188MB|N/A",
    ]


def test_images_of_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    client = run(["images", "-a", "-f", "label=x", "nginx"], {("GET", "/images/json"): []})
    assert client.asked[0][2] == {"all": True, "filters": {"label": ["x"], "reference": ["nginx"]}}
    assert capsys.readouterr().out == "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"


def test_images_hint(capsys: pytest.CaptureFixture[str]) -> None:
    run(["images", "ls"], {("GET", "/images/json"): []})
    assert 'did you mean "darse image ls"?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("a:b", {"repo": "a", "tag": "b"}),
        ("a", {"repo": "a"}),
        ("localhost:5000/a", {"repo": "localhost:5000/a"}),
        ("localhost:5000/a:b", {"repo": "localhost:5000/a", "tag": "b"}),
    ],
)
def test_tag(target: str, query: dict[str, str]) -> None:
    assert run(["tag", "x/y", target], {("POST", "/images/x/y/tag"): ""}).asked[0][2] == query


def test_remove_images(capsys: pytest.CaptureFixture[str]) -> None:
    answers = {("DELETE", "/images/a"): [{"Untagged": "a:latest"}, {"Deleted": "sha256:1"}]}
    with pytest.raises(CliError, match="No such object"):
        run(["rmi", "a", "b"], answers)
    assert capsys.readouterr().out == "Untagged: a:latest\nDeleted: sha256:1\n"
    run(["rmi", "-f", "b"], answers)
    assert "No such object" in capsys.readouterr().err
    with pytest.raises(CliError, match="in use"):
        run(["rmi", "-f", "b"], {("DELETE", "/images/b"): ApiError("in use", 409)})


def test_prune_images(capsys: pytest.CaptureFixture[str]) -> None:
    deleted = [{"Untagged": "a:1"}, {"Deleted": "sha256:1"}]
    answers = {("POST", "/images/prune"): {"ImagesDeleted": deleted, "SpaceReclaimed": 1_983_000}}
    assert run(["image", "prune", "-f", "-a"], answers).asked[0][2] == {"filters": {"dangling": ["false"]}}
    assert capsys.readouterr().out == (
        "Deleted Images:\nuntagged: a:1\ndeleted: sha256:1\n\nTotal reclaimed space: 1.983MB\n"
    )


def test_prune_asks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(["volume", "prune"], {}).asked == []
    assert capsys.readouterr().out == (
        "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
        "Are you sure you want to continue? [y/N] "
    )


def test_save_to_a_file_is_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    run(["save", "-o", str(target), "a"], {("GET", "/images/get"): [b"one", b"two"]})
    assert target.read_bytes() == b"onetwo"
    with pytest.raises(CliError, match="No such object"):
        run(["save", "-o", str(target), "b"], {})
    assert target.read_bytes() == b"onetwo"
    assert [one.name for one in tmp_path.iterdir()] == ["image.tar"]
    with pytest.raises(CliError, match="invalid output path"):
        run(["save", "-o", str(tmp_path / "no" / "x"), "a"], {})


def test_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "x.tar"
    archive.write_bytes(b"archive")
    client = run(["load", "-i", str(archive)], {("POST", "/images/load"): [{"stream": "Loaded image: a:1\n"}]})
    assert client.asked[0][2:] == ({"quiet": True}, b"archive")
    assert capsys.readouterr().out == "Loaded image: a:1\n"
    with pytest.raises(CliError, match="no such file or directory"):
        run(["load", "-i", str(tmp_path / "none")], {})


def test_import(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    archive.write_bytes(b"archive")
    client = run(
        ["import", "-c", "CMD sh", "-m", "words", str(archive), "a:b"],
        {("POST", "/images/create"): [{"status": "sha256:1"}]},
    )
    query = {"fromSrc": "-", "repo": "a:b", "changes": ["CMD sh"], "message": "words"}
    assert client.asked[0][2:] == (query, b"archive")


def test_progress_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CliError, match=r"^broken$"):
        display(
            iter(
                [
                    {"status": "Pulling from a", "id": "latest"},
                    {"status": "Downloading", "id": "1", "progressDetail": {"current": 1, "total": 2}},
                    {"status": "Pull complete", "id": "1", "progressDetail": {}},
                    {"errorDetail": {"message": "broken"}, "error": "broken"},
                ]
            )
        )
    assert capsys.readouterr().out == "latest: Pulling from a\n1: Pull complete\n"


def test_pull(capsys: pytest.CaptureFixture[str]) -> None:
    answers = {("POST", "/images/create"): [{"status": "Status: Image is up to date for a:latest"}]}
    assert run(["pull", "a"], answers).asked[0][2] == {"fromImage": "docker.io/library/a", "tag": "latest"}
    assert capsys.readouterr().out.splitlines() == [
        "Using default tag: latest",
        "Status: Image is up to date for a:latest",
        "docker.io/library/a:latest",
    ]
    run(["pull", "-q", "localhost:5000/a:b"], answers)
    assert capsys.readouterr().out == "localhost:5000/a:b\n"


def test_volumes(capsys: pytest.CaptureFixture[str]) -> None:
    volume = {"Driver": "local", "Labels": {"a": "b"}, "Mountpoint": "/m", "Scope": "local", "Options": None}
    answers = {
        ("GET", "/volumes"): {"Volumes": [{**volume, "Name": "v10"}, {**volume, "Name": "v2"}], "Warnings": None},
        ("POST", "/volumes/create"): {"Name": "v"},
    }
    run(["volume", "ls"], answers)
    assert capsys.readouterr().out == "DRIVER    VOLUME NAME\nlocal     v2\nlocal     v10\n"
    client = run(["volume", "create", "-o", "type=tmpfs", "--label", "x", "v"], answers)
    body = {"Name": "v", "Driver": "local", "DriverOpts": {"type": "tmpfs"}, "Labels": {"x": ""}}
    assert client.asked[0][3] == body


def _create(*words: str) -> dict[str, Any]:
    body = run(["network", "create", *words, "n"], {("POST", "/networks/create"): {"Id": "1", "Warning": ""}}).asked
    document: dict[str, Any] = body[0][3]
    return document


def test_network_create() -> None:
    body = _create(
        *("--subnet", "10.1.0.0/16,fd00::/64", "--gateway", "10.1.0.1", "--ip-range", "10.1.2.0/24"),
        *("--aux-address", "router=10.1.9.9", "--ipv6", "-o", "a=b", "--internal"),
    )
    assert body["IPAM"]["Config"] == [
        {
            "Subnet": "10.1.0.0/16",
            "IPRange": "10.1.2.0/24",
            "Gateway": "10.1.0.1",
            "AuxiliaryAddresses": {"router": "10.1.9.9"},
        },
        {"Subnet": "fd00::/64"},
    ]
    assert (body["EnableIPv6"], body["Options"], body["Internal"]) == (True, {"a": "b"}, True)
    assert "EnableIPv4" not in body


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gateway", "10.0.0.1"], "every ip-range or gateway must have a corresponding subnet"),
        (["--subnet", "10.0.0.0/8", "--subnet", "10.1.0.0/16"], "multiple overlapping subnet configuration"),
        (["--subnet", "10.0.0.0/24", "--gateway", "10.0.1.1"], "no matching subnet for gateway 10.0.1.1"),
        (["--subnet", "10.0.0.0/24", "--ip-range", "10.9.0.0/24"], "no matching subnet for range 10.9.0.0/24"),
        (["--subnet", "what"], "invalid subnet: invalid CIDR address: what"),
        (
            ["--subnet", "10.0.0.0/24,10.1.0.0/24", "--gateway", "10.0.0.1,10.0.0.2"],
            r"cannot configure multiple gateways \(10.0.0.2, 10.0.0.1\) for the same subnet",
        ),
    ],
)
def test_network_create_refuses(words: list[str], message: str) -> None:
    with pytest.raises(CliError, match=message):
        _create(*words)


def test_version_of_the_client_asks_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "--client"], {}).asked == []
    assert capsys.readouterr().out.startswith(f"Client: darse\n Version:           {__version__}\n")
    run(["version", "--client", "--format", "{{.Client.Os}} {{.Server}}"], {})
    assert capsys.readouterr().out == "linux <nil>\n"


def test_events(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    event = {
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": "1", "Attributes": {"name": "web", "exitCode": "0"}},
        "timeNano": 1_000_000_000_000_000_001,
    }
    monkeypatch.setattr("time.localtime", __import__("time").gmtime)
    monkeypatch.setattr("time.time", lambda: 1000.0)
    client = run(["events", "--since", "1m30s", "--until", "2020-01-01"], {("GET", "/events"): [event]})
    assert client.asked[0][2] == {"since": "910.000000000", "until": "2020-01-01"}
    assert capsys.readouterr().out == "2001-09-09T01:46:40.000000001Z container die 1 (exitCode=0, name=web)\n"
    run(["events", "--format", "{{.Actor.Attributes.name}} {{.Action}}"], {("GET", "/events"): [event]})
    assert capsys.readouterr().out == "web die\n"
    with pytest.raises(CliError) as caught:
        run(["events", "--format", "{{.Foo}}"], {})
    assert caught.value.status == 64


def test_disk_usage(capsys: pytest.CaptureFixture[str]) -> None:
    usage = {
        "LayersSize": 1000,
        "Images": [{**_IMAGE, "Size": 600, "SharedSize": 100, "Containers": 1}],
        "Containers": [{"State": "running", "SizeRw": 10}, {"State": "exited", "SizeRw": 30}],
        "Volumes": [{"UsageData": {"Size": 7, "RefCount": 0}}],
    }
    run(["system", "df"], {("GET", "/system/df"): usage})
    assert capsys.readouterr().out.splitlines() == [
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE",
        "Images          1         1         1kB       500B (50%)",
        "Containers      2         1         40B       30B (75%)",
        "Local Volumes   1         0         7B        7B (100%)",
        "Build Cache     0         0         0B        0B",
    ]


def test_story() -> None:
    step = {"kind": "mount", "summary": "overlay", "command": ["mount", "-t", "a b"], "begin_ns": 1_500_000}
    steps = [{**step, "duration_ns": 1_000_000, "failed": ""}]
    operation = {
        "name": "start",
        "subject": "ab" * 32,
        "started_at_ns": 1_000_000,
        "duration_ns": 4_000_000,
        "steps": steps,
        "outcome": "done",
    }
    lines = list(story(operation, "web"))
    assert lines[1] == "done in 4.00 ms, 1 steps"
    assert lines[4].split() == ["0.50", "1.00", "25%", "##", "mount", "overlay"]
    assert lines[5].strip() == "$ mount -t 'a b'"
    assert lines[-1] == "    3.00 ms of it (75%) in the engine itself"


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("darse ", ["run", "ps", "container", "explain"], ["ls"]),
        ("darse ru", ["run"], ["rm"]),
        ("darse -D --host x container st", ["start", "stop"], ["ls"]),
        ("darse run --rest", ["--restart"], ["--rm"]),
        ("darse run --restart ", ["always", "on-failure"], ["run"]),
        ("darse run --restart=al", ["--restart=always"], ["always"]),
        ("darse run busybox --", [], ["--rm"]),
        ("darse completion ", ["bash", "fish", "zsh"], []),
        ("darse help im", ["image", "images", "import"], []),
        ("darse run --log-driver ", ["journald", "splunk", "fluentd", "none"], []),
        ("darse network create -d ", ["bridge", "host"], ["local"]),
        ("darse volume create -d ", ["local"], ["bridge"]),
        ("darse ps --filter ", ["status=", "label=", "health="], ["dangling="]),
        ("darse ps -f status=", ["status=exited", "status=running"], []),
        ("darse ps --filter=st", ["--filter=status="], []),
        ("darse volume prune --filter ", ["all=", "label!="], ["until="]),
        ("darse events --filter type=", ["type=network"], []),
        ("darse ps --format ", ["json", "table"], []),
        ("darse inspect --format ", ["json"], ["table"]),
        ("darse -H ", ["unix:///run/darse/darse.sock", "ssh://"], ["run"]),
        ("darse --context ", ["default"], ["run"]),
    ],
)
def test_completion(line: str, some: list[str], none: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARSE_HOST", "unix:///nowhere")
    found = complete(split_line(line), Settings())
    assert set(some) <= set(found)
    assert not set(none) & set(found)


def test_completion_asks_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    containers = [{"Names": ["/web"], "State": "running"}, {"Names": ["/db"], "State": "exited"}]
    client = SimpleNamespace(do=lambda *_: containers, close=lambda: None)
    monkeypatch.setattr("darse.client.blocking.Client", lambda *_: client)
    assert complete(["rm", ""], Settings()) == ["db", "web"]
    assert complete(["rm", "db", ""], Settings()) == ["web"]
    assert complete(["start", ""], Settings()) == ["db"]


def test_completion_splits_what_is_typed() -> None:
    assert split_line("darse rm a") == ["rm", "a"]
    assert split_line("darse rm a ") == ["rm", "a", ""]
    assert split_line("darse rm 'a b") == ["rm", "a b"]


def test_every_command_has_a_manual_page() -> None:
    from darse.cli.command_line import index
    from darse.cli.command_line.man import pages

    found = dict(pages())
    assert len(found) == 1 + len(index.COMMANDS) + len(index.ALIASES)
    page = found["darse-container-ls.1"]
    assert r"\fB\-a\fR, \fB\-\-all\fR" in page
    assert r"\fBdarse ps\fR" in page
    assert r"\fBdarse ps\fR [OPTIONS]" in found["darse-ps.1"]
    assert not [line for text in found.values() for line in text.splitlines() if line.startswith("'")]


def test_every_command_explains_itself() -> None:
    import importlib

    from darse.cli.command_line import index
    from darse.cli.command_line.flags import help_text

    for path, entry in index.COMMANDS.items():
        command, function = importlib.import_module(entry.module).COMMANDS[path]
        assert command.path == path
        assert callable(function)
        assert len({flag.name for flag in command.flags}) == len(command.flags)
        shorts = [flag.short for flag in command.flags if flag.short]
        assert len(set(shorts)) == len(shorts)
        assert help_text(command).startswith(f"\nUsage:  darse {path}")


def test_start_names_only_the_containers_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    run(["start", "here", "missing"], {("POST", "/containers/here/start"): {}})
    captured = capsys.readouterr()
    assert captured.out == "here\n"
    assert captured.err.splitlines()[-1] == "Error: failed to start containers: missing"


def test_a_wrong_global_flag_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_darse(["--nope", "ps"]) == 125
    assert capsys.readouterr().err == (
        "unknown flag: --nope\n\nUsage:  darse [OPTIONS] COMMAND\n\nRun 'darse --help' for more information\n"
    )


@pytest.mark.parametrize(("command", "status", "before"), [("run", 125, "darse: "), ("create", 1, "")])
def test_without_an_engine_no_help_of_the_command_is_pointed_to(
    command: str,
    status: int,
    before: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """docker's client does that for `run`, and it does not help."""
    monkeypatch.setenv("DARSE_HOST", f"unix://{tmp_path}/none.sock")
    assert run_darse([command, "x"]) == status
    assert capsys.readouterr().err == (
        f"{before}Cannot connect to the darse engine at unix://{tmp_path}/none.sock. Is darsed running? "
        "(No such file or directory)\n"
    )


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (
            {"images": 12, "layers": 40, "documents": 53, "bytes": 812_345_678},
            "12 images, 40 layers, 53 documents, 812.3MB looked at: 0 findings, 0 problems left",
        ),
        (
            {"images": 1, "layers": 1, "documents": 1, "bytes": 999},
            "1 image, 1 layer, 1 document, 999B looked at: 0 findings, 0 problems left",
        ),
    ],
)
def test_a_check_says_how_much_it_looked_at(
    counts: dict[str, int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [{"doing": "layers"}, {"doing": "done", "problems": 0, **counts}]
    run(["system", "check"], {("GET", "/darse/check"): messages})
    assert capsys.readouterr().out.splitlines()[-1] == said
