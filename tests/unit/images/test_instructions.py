"""Dockerfile instructions of `--change`."""

import pytest

from darse.core.errors import InvalidParameter
from darse.images.instructions import apply
from darse.wire.containers import ContainerConfig


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ('CMD ["a", "b"]', "Cmd", ["a", "b"]),
        ("CMD echo hi", "Cmd", ["/bin/sh", "-c", "echo hi"]),
        ('entrypoint ["/x"]', "Entrypoint", ["/x"]),
        ("ENV A=1 B='two words'", "Env", ["A=1", "B=two words"]),
        ("ENV A some value", "Env", ["A=some value"]),
        ("EXPOSE 80 53/udp", "ExposedPorts", {"80/tcp": {}, "53/udp": {}}),
        ('LABEL k="v w"', "Labels", {"k": "v w"}),
        ("USER app", "User", "app"),
        ("VOLUME /data /more", "Volumes", {"/data": {}, "/more": {}}),
        ('VOLUME ["/x y"]', "Volumes", {"/x y": {}}),
        ("WORKDIR /srv", "WorkingDir", "/srv"),
        ("STOPSIGNAL SIGQUIT", "StopSignal", "SIGQUIT"),
        ("ONBUILD RUN x", "OnBuild", ["RUN x"]),
    ],
)
def test_an_instruction_changes_the_configuration(change, field, expected):
    assert getattr(apply(ContainerConfig(), [change]), field) == expected


def test_a_list_that_is_nested_too_deeply_is_for_the_shell():
    text = "[" * 100_000
    assert apply(ContainerConfig(), [f"CMD {text}"]).Cmd == ["/bin/sh", "-c", text]


def test_a_later_env_replaces_an_earlier_one():
    assert apply(ContainerConfig(Env=["A=0", "Z=9"]), ["ENV A=1", "ENV A=2"]).Env == ["A=2", "Z=9"]


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ("ENV PATH=/x:$PATH", "Env", ["PATH=/x:/bin", "B=b c"]),
        ("ENV PATH /x:${PATH}", "Env", ["PATH=/x:/bin", "B=b c"]),
        ("ENV PATH=1 OLD=$PATH", "Env", ["PATH=1", "B=b c", "OLD=/bin"]),
        ("ENV X=$B Y=\"$B\" Z='$B'", "Env", ["PATH=/bin", "B=b c", "X=b c", "Y=b c", "Z=$B"]),
        (
            "ENV X=\\$B Y=${NO:-none} Z=${B:+some} V=${NO:+x}",
            "Env",
            ["PATH=/bin", "B=b c", "X=$B", "Y=none", "Z=some", "V="],
        ),
        ("ENV X=a$ Y=$1 Z=${PATH", "Env", ["PATH=/bin", "B=b c", "X=a$", "Y=$1", "Z=${PATH"]),
        ("LABEL p=$PATH", "Labels", {"p": "/bin"}),
        ("USER $B", "User", "b c"),
        ("WORKDIR $PATH/x/../y/", "WorkingDir", "/bin/y"),
        ("EXPOSE ${NO:-80}", "ExposedPorts", {"80/tcp": {}}),
        ("CMD echo $PATH", "Cmd", ["/bin/sh", "-c", "echo $PATH"]),
        ("ONBUILD ENV A=$PATH", "OnBuild", ["ENV A=$PATH"]),
    ],
)
def test_variables_are_those_of_the_configuration(change, field, expected):
    assert getattr(apply(ContainerConfig(Env=["PATH=/bin", "B=b c"]), [change]), field) == expected


def test_a_relative_working_directory_is_below_the_one_before():
    assert apply(ContainerConfig(WorkingDir="/srv"), ["WORKDIR a", "WORKDIR b/"]).WorkingDir == "/srv/a/b"


@pytest.mark.parametrize(
    "change", ["RUN x", "", "CMD", "EXPOSE http", "EXPOSE 99999", "ENV A='x", "LABEL x y=", "FROM y"]
)
def test_what_is_no_change_is_refused(change):
    if change == "LABEL x y=":
        assert apply(ContainerConfig(), [change]).Labels == {"x": "y="}
        return
    with pytest.raises(InvalidParameter):
        apply(ContainerConfig(), [change])


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        (['ENTRYPOINT ["/new"]'], None),
        (['ENTRYPOINT ["/new"]', 'CMD ["b"]'], ["b"]),
        (['CMD ["b"]', 'ENTRYPOINT ["/new"]'], ["b"]),
        (["ENV A=1"], ["a"]),
    ],
)
def test_an_entry_point_takes_the_command_of_another_away(changes, command):
    assert apply(ContainerConfig(Cmd=["a"], Entrypoint=["/old"]), changes).Cmd == command
