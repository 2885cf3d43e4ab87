"""Stages, scopes of arguments, ONBUILD, named contexts, and the image that comes out."""

from __future__ import annotations

import json

import pytest

from darse.build.dockerfile import DockerfileError
from darse.build.dockerfile.convert import ConvertOptions, convert, list_targets
from darse.build.graph import (
    DiffOperation,
    ExecOperation,
    FileOperation,
    GitSource,
    HTTPSource,
    ImageSource,
    LocalSource,
    MergeOperation,
    NetworkMode,
    OCILayoutSource,
)
from tests.unit.build.dockerfile.convert.support import (
    DIGEST,
    FakeImages,
    changes,
    converted,
    document,
    history,
    names,
    operations,
    process,
    vertices,
)

_SECRETS = {"auth_token_secret": "GIT_AUTH_TOKEN", "auth_header_secret": "GIT_AUTH_HEADER"}


async def _error(text: str, **options: object) -> DockerfileError:
    with pytest.raises(DockerfileError) as raised:
        await converted(text, **options)
    return raised.value


async def test_a_stage_from_an_image() -> None:
    found = await converted("FROM alpine\nRUN true")
    image, run = vertices(found)
    assert image.operation == ImageSource(reference=f"docker.io/library/alpine:latest@{DIGEST}")
    assert (image.platform, run.platform) == ("linux/amd64", "linux/amd64")
    assert process(found).meta.arguments == ("/bin/sh", "-c", "true")
    assert names(found) == [f"[1/2] FROM docker.io/library/alpine:latest@{DIGEST}", "[2/2] RUN true"]
    assert found.definition.result is not None
    assert list(found.definition.vertices)[-1] == found.definition.result.vertex


async def test_the_same_dockerfile_gives_the_same_graph() -> None:
    text = "FROM a AS x\nCOPY . .\nRUN make\nFROM b\nCOPY --from=x --link /y /z"
    assert (await converted(text)).definition == (await converted(text)).definition


async def test_scratch() -> None:
    found = await converted("FROM scratch\nLABEL a=b")
    assert found.definition.result is None
    assert found.image.document() == {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": {"a": "b"},
            "WorkingDir": "/",
        },
        "history": [{"created_by": "LABEL a=b", "comment": "buildkit.dockerfile.v0", "empty_layer": True}],
    }


async def test_the_document_of_a_base_is_left_alone() -> None:
    base = document(Env=["A=1"], Labels={"a": "b"})
    await converted("FROM base\nENV A=2\nLABEL a=c", FakeImages({"base": base}))
    assert base == document(Env=["A=1"], Labels={"a": "b"})


@pytest.mark.parametrize(
    ("paths", "directory"), [(["/a/"], "/a/"), (["a/"], "/base/a"), (["/a", "../b", "c"], "/b/c"), (["$X"], "/base")]
)
async def test_working_directories(paths: list[str], directory: str) -> None:
    text = "FROM base\n" + "".join(f"WORKDIR {path}\n" for path in paths)
    found = await converted(text, FakeImages({"base": document(WorkingDir="/base")}))
    assert found.image.config["WorkingDir"] == directory
    assert history(found)[-1] == f"WORKDIR {directory}"


async def test_an_image_without_layers_is_empty() -> None:
    images = FakeImages({"bare": {"os": "linux", "architecture": "amd64", "config": {"Env": ["A=1"]}}})
    found = await converted("FROM bare", images)
    assert found.definition.result is None
    assert found.image.environment()["A"] == "1"


@pytest.mark.parametrize(
    ("target", "commands"),
    [("", ["c"]), ("one", ["a"]), ("ONE", ["a"]), ("two", ["a", "b"]), ("1", ["a", "b"]), ("three", ["c"])],
)
async def test_only_what_the_target_needs(target: str, commands: list[str]) -> None:
    text = "FROM x AS one\nRUN a\nFROM one AS two\nRUN b\nFROM y AS three\nRUN c"
    images = FakeImages()
    found = await converted(text, images, target=target)
    runs = [one.meta.arguments[2] for one in operations(found) if isinstance(one, ExecOperation)]
    assert runs == commands
    assert [reference for reference, _ in images.asked] == [
        f"docker.io/library/{'y' if commands == ['c'] else 'x'}:latest"
    ]


async def test_a_target_that_is_not_there() -> None:
    error = await _error("FROM a AS build\nFROM b", target="bulid")
    assert str(error) == 'target stage "bulid" could not be found (did you mean build?)'


async def test_stages_by_name_number_and_image() -> None:
    text = "FROM a AS x\nRUN a\nFROM b\nCOPY --from=x /1 /\nCOPY --from=0 /2 /\nCOPY --from=busybox:1 /3 /"
    found = await converted(text)
    assert [(change.source, change.destination) for change in changes(found)] == [("/1", "/"), ("/2", "/"), ("/3", "/")]
    sources = [one.reference for one in operations(found) if isinstance(one, ImageSource)]
    assert sorted(sources) == [f"docker.io/library/{name}@{DIGEST}" for name in ("a:latest", "b:latest", "busybox:1")]


async def test_a_later_stage_has_the_environment_and_the_arguments_of_its_base() -> None:
    found = await converted("FROM a AS x\nARG A=1\nENV E=2\nWORKDIR /w\nUSER u\nFROM x\nRUN true")
    assert set(process(found).meta.environment) >= {"A=1", "E=2"}
    assert (process(found).meta.directory, process(found).meta.user) == ("/w", "u")
    assert history(found)[-1] == "RUN |1 A=1 /bin/sh -c true # buildkit"


@pytest.mark.parametrize(
    ("text", "error", "lines"),
    [
        ("FROM a AS x\nCOPY --from=x a b", "circular dependency detected on stage: x", (2, 2)),
        (
            "FROM a AS x\nCOPY --from=y a b\nFROM x AS y",
            'cannot copy from stage "y", it needs to be defined before current stage "x"',
            (2, 2),
        ),
        (
            "FROM a AS x\nCOPY --from=y a b\nFROM b AS y\nCOPY --from=x c d",
            "circular dependency detected on stage: x",
            (4, 4),
        ),
        ("FROM a\nCOPY --from=5 a b", "invalid stage index 5", (2, 2)),
        ("FROM a\nCOPY --from=$x a b", "variable expansion is not supported for --from", (2, 2)),
        ("ARG v\nFROM $v", "base name ($v) should not be blank", (2, 2)),
        ("FROM missing", "docker.io/library/missing:latest: not found", (1, 1)),
        ("FROM Upper", 'failed to parse stage name "Upper": invalid reference format', (1, 1)),
        ("FROM a: AS x\nFROM b", 'failed to parse stage name "a:": invalid reference format', (1, 1)),
        ("FROM --platform=$x a", "empty platform value from expression $x", (1, 1)),
        ("FROM --platform=linux/what/v1/x a", "failed to parse platform linux/what/v1/x", (1, 1)),
        ("ARG a\nARG b=1", "dockerfile contains no stages to build", None),
        (
            "FROM a AS t\nRUN --mount=from=x,target=/a true\nFROM b AS x\nFROM t",
            'cannot mount from stage "x" to "/a"',
            (2, 2),
        ),
        ("FROM a\nENV x=${y?no_y}", 'failed to process "${y?no_y}": y: no_y', (2, 2)),
        ("FROM ${x?no_x}", 'failed to process "${x?no_x}": x: no_x', (1, 1)),
        ("FROM a\nSTOPSIGNAL SIGWHAT", "invalid signal: SIGWHAT", (2, 2)),
        ("FROM a\nEXPOSE 99999", "invalid containerPort: 99999", (2, 2)),
        ("FROM a\nEXPOSE 80/icmp", 'invalid port: "80/icmp": invalid proto: icmp', (2, 2)),
        ("FROM a\nVOLUME $x", "VOLUME specified can not be an empty string", (2, 2)),
    ],
)
async def test_errors_have_their_place(text: str, error: str, lines: tuple[int, int] | None) -> None:
    found = await _error(text)
    assert str(found).startswith(error)
    assert found.lines == lines


async def test_arguments_before_the_first_stage() -> None:
    text = "ARG V=1\nARG W=$V.2\nFROM a:$W\nARG V\nARG W=3\nRUN true"
    images = FakeImages()
    found = await converted(text, images, build_arguments={"V": "9"})
    assert images.asked[0][0] == "docker.io/library/a:9.2"
    assert process(found).meta.environment[1:] == ("V=9", "W=3")
    assert history(found) == ["ARG V=9", "ARG W=3", "RUN |2 V=9 W=3 /bin/sh -c true # buildkit"]


async def test_arguments_are_known_where_they_are_declared_only() -> None:
    found = await converted("ARG A=1\nFROM a\nRUN one\nARG A\nRUN two", build_arguments={"B": "x"})
    first, second = (one.meta.environment for one in operations(found) if isinstance(one, ExecOperation))
    assert (first[1:], second[1:]) == ((), ("A=1",))


async def test_a_variable_hides_an_argument() -> None:
    found = await converted("FROM a\nARG A=1\nENV A=2\nRUN $A", build_arguments={"A": "3"})
    assert process(found).meta.environment[1:] == ("A=2",)


async def test_predefined_arguments() -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM a\nARG TARGETPLATFORM\nARG TARGETARCH TARGETVARIANT BUILDOS TARGETSTAGE\nRUN x"
    )
    images = FakeImages()
    found = await converted(text, images, platform="linux/arm/v7")
    assert images.asked == [("docker.io/library/a:latest", "linux/amd64")]
    assert process(found).meta.environment[1:] == (
        "TARGETPLATFORM=linux/arm/v7", "TARGETARCH=arm", "TARGETVARIANT=v7", "BUILDOS=linux", "TARGETSTAGE=default",
    )  # fmt: skip
    assert found.image.platform == "linux/arm/v7"


async def test_proxies_are_there_without_a_declaration_and_in_no_history() -> None:
    found = await converted("FROM a\nRUN true", build_arguments={"HTTP_PROXY": "http://p", "no_proxy": "x"})
    proxy = process(found).meta.proxy
    assert proxy is not None
    assert (proxy.http, proxy.none) == ("http://p", "x")
    assert "http://p" not in json.dumps(found.image.document())


async def test_triggers_run_before_the_instructions() -> None:
    images = FakeImages(
        {"trig": document(OnBuild=["RUN one", "COPY --from=other /a /b", "ENV T=1"], Env=["PATH=/bin"])}
    )
    found = await converted("FROM trig\nRUN two $T", images)
    assert [reference for reference, _ in images.asked] == [
        "docker.io/library/trig:latest",
        "docker.io/library/other:latest",
    ]
    assert [one.meta.arguments[2] for one in operations(found) if isinstance(one, ExecOperation)] == ["one", "two $T"]
    assert "[2/4] ONBUILD RUN one" in names(found)
    assert "OnBuild" not in found.image.config
    assert history(found)[2] == "ENV T=1"


async def test_triggers_of_a_stage_run_in_the_stages_from_it() -> None:
    found = await converted("FROM a AS x\nONBUILD RUN one\nFROM x AS y\nRUN two\nFROM y\nRUN three")
    assert [one.meta.arguments[2] for one in operations(found) if isinstance(one, ExecOperation)] == [
        "one",
        "two",
        "three",
    ]
    kept = await converted("FROM a\nONBUILD RUN <<E\nx\nE")
    assert kept.image.config["OnBuild"] == ["RUN <<E\nx\nE"]


async def test_triggers_that_cannot_be_read_are_shown_at_the_stage() -> None:
    images = FakeImages({"trig": document(OnBuild=["FROM x"])})
    with pytest.raises(DockerfileError, match="FROM isn't allowed as an ONBUILD trigger") as raised:
        await converted("ARG a\nFROM trig", images)
    assert raised.value.lines == (2, 2)


@pytest.mark.parametrize(
    ("context", "source"),
    [
        ("docker-image://other", ImageSource(reference=f"docker.io/library/other:latest@{DIGEST}")),
        ("oci-layout://n@sha256:1", OCILayoutSource(reference=f"n@sha256:1@{DIGEST}", session="s")),
        ("https://h/x.git#v1", GitSource(remote="h/x.git", full_url="https://h/x.git", reference="v1", **_SECRETS)),
        ("https://h/x.tar", HTTPSource(url="https://h/x.tar", filename="context")),
        ("local:dir", LocalSource(name="dir", session="s", follow_paths=("a", "b"), shared_key_hint="context:dir")),
    ],
)  # fmt: skip
async def test_named_contexts(context: str, source: object) -> None:
    text = "FROM alpine\nCOPY --from=files /a /b /"
    found = await converted(text, contexts={"files": context}, session="s")
    assert source in operations(found)


async def test_a_named_context_in_the_place_of_an_image_and_of_a_stage() -> None:
    images = FakeImages()
    found = await converted(
        "FROM alpine:latest AS x\nRUN a\nFROM x\nCOPY . .", images, contexts={"alpine": "docker-image://debian:12"}
    )
    assert images.asked[0][0] == "docker.io/library/debian:12"
    replaced = await converted("FROM alpine AS x\nRUN a\nFROM x\nRUN b", contexts={"x": "docker-image://debian:12"})
    assert [one.meta.arguments[2] for one in operations(replaced) if isinstance(one, ExecOperation)] == ["b"]
    assert len(operations(found)) == 4


async def test_a_context_of_an_unknown_kind() -> None:
    error = await _error("FROM a\nCOPY --from=x a b", contexts={"x": "ftp://y"})
    assert str(error) == "unsupported context source ftp for x"


async def test_the_context_has_only_the_paths_that_are_used() -> None:
    text = "FROM a\nCOPY b/*.c ../d /\nADD https://h/x /\nRUN --mount=target=/e,source=f true\nFROM a\nCOPY g /"
    found = await converted(text, target="0", ignore_patterns=("*.md",), session="s")
    assert LocalSource(
        name="context",
        session="s",
        exclude_patterns=("*.md",),
        follow_paths=("b/*.c", "d", "f"),
        shared_key_hint="context",
    ) in operations(found)
    everything = await converted("FROM a\nCOPY b /\nCOPY . /")
    assert LocalSource(name="context", shared_key_hint="context") in operations(everything)


async def test_another_source_as_the_context() -> None:
    source = GitSource(remote="h/x.git")
    found = await converted("FROM a\nCOPY b /", context=source)
    assert source in operations(found)


async def test_the_image_of_a_whole_dockerfile() -> None:
    text = """FROM base
MAINTAINER me <m@e>
LABEL a=b "c d"='e f'
ENV X=1 Y=$X.$Z
ENV PATH=/x:$PATH
WORKDIR sub
WORKDIR $X
USER me
EXPOSE 80 443/UDP 8000-8002
VOLUME /v $X
STOPSIGNAL SIGQUIT
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=30s --timeout=3s --retries=3 CMD curl -f localhost || exit 1
ENTRYPOINT exec x
CMD ["a", "b"]
"""
    base = document(Env=["PATH=/bin", "Z=z"], WorkingDir="/base", Cmd=["sh"], User="nobody", ArgsEscaped=True)
    found = await converted(text, FakeImages({"base": base}), labels={"l": "m"}, source_date_epoch=0)
    image = found.image.document()
    assert image["author"] == "me <m@e>"
    assert image["config"] == {
        "Env": ["PATH=/x:/bin", "Z=z", "X=1", "Y=.z"],
        "WorkingDir": "/base/sub/1",
        "Cmd": ["a", "b"],
        "Entrypoint": ["/bin/bash", "-c", "exec x"],
        "User": "me",
        "ArgsEscaped": True,
        "Labels": {"a": "b", "c d": "e f", "l": "m"},
        "ExposedPorts": {f"{port}": {} for port in ("443/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp")},
        "Volumes": {"/v": {}, "1": {}},
        "StopSignal": "SIGQUIT",
        "Shell": ["/bin/bash", "-c"],
        "Healthcheck": {
            "Test": ["CMD-SHELL", "curl -f localhost || exit 1"],
            "Interval": 30 * 10**9,
            "Timeout": 3 * 10**9,
            "Retries": 3,
        },
    }
    assert history(found) == [
        "MAINTAINER me <m@e>",
        "LABEL a=b c d=e f",
        "ENV X=1 Y=.z",
        "ENV PATH=/x:/bin",
        "WORKDIR /base/sub",
        "WORKDIR /base/sub/1",
        "USER me",
        "EXPOSE [443/udp 80/tcp 8000/tcp 8001/tcp 8002/tcp]",
        "VOLUME [/v 1]",
        "STOPSIGNAL SIGQUIT",
        "SHELL [/bin/bash -c]",
        'HEALTHCHECK &{["CMD-SHELL" "curl -f localhost || exit 1"] "30s" "3s" "0s" "0s" \'\\x03\'}',
        'ENTRYPOINT ["/bin/bash" "-c" "exec x"]',
        'CMD ["a" "b"]',
    ]
    assert image["history"][0] == {"created_by": "base", "created": "2020-01-01T00:00:00Z"}
    assert {line["created"] for line in image["history"][1:]} == {"1970-01-01T00:00:00Z"}
    layers = [line["created_by"] for line in image["history"][1:] if not line.get("empty_layer")]
    assert layers == ["WORKDIR /base/sub", "WORKDIR /base/sub/1"]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("ENTRYPOINT x", None),
        ("CMD y\nENTRYPOINT x", ["/bin/sh", "-c", "y"]),
        ("ENTRYPOINT x\nCMD []", None),
        ("LABEL a=b", ["base"]),
    ],
)
async def test_an_entry_point_takes_the_command_of_the_base_away(text: str, command: list[str] | None) -> None:
    found = await converted(f"FROM base\n{text}", FakeImages({"base": document(Cmd=["base"])}))
    assert found.image.document()["config"].get("Cmd") == command


async def test_options_reach_processes() -> None:
    found = await converted(
        "FROM a\nRUN one\nRUN --network=default two\nRUN --network=none three",
        network=NetworkMode.HOST,
        extra_hosts=(("h", "1.2.3.4"),),
        hostname="builder",
        cgroup_parent="/p",
        shm_size=1 << 20,
    )
    runs = [one for one in operations(found) if isinstance(one, ExecOperation)]
    assert [run.network for run in runs] == [NetworkMode.HOST, NetworkMode.HOST, NetworkMode.NONE]
    meta = runs[0].meta
    assert (meta.extra_hosts, meta.hostname, meta.cgroup_parent) == ((("h", "1.2.3.4"),), "builder", "/p")
    assert runs[0].mounts[1].tmpfs_size == 1 << 20


async def test_no_cache_for_some_stages() -> None:
    text = "FROM a AS x\nRUN one\nFROM b\nRUN two\nCOPY --from=x / /"
    for options, ignored in (
        ({"no_cache": True}, {"one", "two"}),
        ({"no_cache_stages": frozenset({"x"})}, {"one"}),
        ({"no_cache_stages": frozenset({"1"})}, {"two"}),
        ({}, set()),
    ):
        found = await converted(text, **options)  # type: ignore[arg-type]
        metadata = found.definition.metadata
        assert {
            vertex.operation.meta.arguments[2]
            for digest, vertex in found.definition.vertices.items()
            if isinstance(vertex.operation, ExecOperation) and metadata[digest].ignore_cache
        } == ignored


async def test_links_do_not_depend_on_what_is_below() -> None:
    found = await converted("FROM a\nCOPY --link b /c")
    copy = next(vertex for vertex in vertices(found) if isinstance(vertex.operation, FileOperation))
    assert len(copy.inputs) == 1
    assert any(isinstance(one, MergeOperation) for one in operations(found))
    assert "[2/2] LINK COPY --link b /c" in names(found)
    with_mode = await converted("FROM a\nCOPY --link --chmod=700 b /c")
    assert not any(isinstance(one, MergeOperation | DiffOperation) for one in operations(with_mode))


async def test_names_of_several_platforms() -> None:
    found = await converted("FROM a AS x\nRUN b\nFROM x", platform="linux/arm64", show_platform=True)
    assert names(found)[1] == "[linux/arm64 x 2/2] RUN b"


async def test_ten_stages_are_numbered_in_columns() -> None:
    found = await converted("FROM a\n" + "RUN b\n" * 9)
    assert names(found)[1] == "[ 2/10] RUN b"


async def test_images_are_resolved_beside_each_other_and_errors_stop_the_rest() -> None:
    with pytest.raises(DockerfileError, match="not found"):
        await converted("FROM missing AS x\nFROM b\nCOPY --from=x a b\nCOPY --from=c d e")


def test_targets() -> None:
    targets = list_targets("# x first\nFROM a AS x\nFROM --platform=$BUILDPLATFORM x")
    assert [(one.name, one.description, one.base, one.platform, one.default) for one in targets] == [
        ("x", "first", "a", "", False),
        ("", "", "x", "$BUILDPLATFORM", True),
    ]


async def test_outline() -> None:
    text = """# BASE the image
ARG BASE=alpine
ARG UNUSED=1
ARG DEEP=2
ARG NEEDS=$DEEP
# build it all
FROM $BASE AS build
ARG NEEDS
RUN --mount=type=secret,id=s,required --mount=type=ssh true
FROM build AS other
ARG ALSO
"""
    outline = (await converted(text, target="build", build_arguments={"DEEP": "3"})).outline
    assert (outline.name, outline.description) == ("build", "it all")
    assert [(one.name, one.value, one.description, one.lines) for one in outline.args] == [
        ("BASE", "alpine", "the image", (2, 2)),
        ("DEEP", "3", "", (4, 4)),
        ("NEEDS", "3", "", (5, 5)),
    ]
    assert [(one.name, one.required) for one in outline.secrets] == [("s", True)]
    assert [(one.name, one.required) for one in outline.ssh] == [("default", False)]
    assert [one.name for one in (await converted(text)).outline.args] == ["BASE", "DEEP", "NEEDS", "ALSO"]


async def test_a_hundred_stages_in_a_chain() -> None:
    text = "FROM a AS s0\n" + "".join(f"FROM s{number} AS s{number + 1}\nRUN x{number}\n" for number in range(300))
    assert len(vertices(await converted(text))) == 301


async def test_a_long_dockerfile() -> None:
    options = ConvertOptions(build_platform="linux/amd64")
    found = await convert("FROM a\n" + "ENV A=$A.\nRUN x\n" * 300, options, FakeImages())
    assert len(found.definition.vertices) == 301


async def test_labels_in_another_order_are_the_same_image() -> None:
    """Clients in Go keep them in maps, and send them in any order: docker compose made a container anew each time."""
    orders = ({"b": "1", "a": "2"}, {"a": "2", "b": "1"})
    found = [await converted("FROM scratch\nLABEL c=3\n", labels=labels) for labels in orders]
    assert [list(one.image.config["Labels"]) for one in found] == [["c", "a", "b"]] * 2
