"""FROM: bases, stages, targets; RUN: processes and their mounts."""

from __future__ import annotations

from tests.support.build_cases import Case

CASES = (
    Case(
        name="what a stage copies from another",
        dockerfile="FROM builtin/busybox AS make\nRUN echo made > /out\nFROM scratch\nCOPY --from=make /out /it\n",
        tree={"/it": "644 0:0 made\n"},
        exact=True,
    ),
    Case(
        name="a stage by its number",
        dockerfile="FROM builtin/busybox\nRUN echo made > /out\nFROM scratch\nCOPY --from=0 /out /it\n",
        tree={"/it": "644 0:0 made\n"},
    ),
    Case(
        name="a stage that is not there",
        dockerfile="FROM scratch\nCOPY --from=7 /a /b\n",
        error="invalid stage index 7",
    ),
    Case(
        name="an image that no stage is from",
        dockerfile="FROM scratch\nCOPY --from=builtin/busybox /etc/passwd /p\n",
        output=("Step 2/2",),
    ),
    Case(
        name="owners stay from one stage to another",
        dockerfile="FROM builtin/busybox AS a\nRUN echo 1 > /f && chown 3:4 /f\nFROM scratch\nCOPY --from=a /f /f\n",
        tree={"/f": "644 3:4 1\n"},
    ),
    Case(
        name="a target",
        dockerfile="FROM scratch AS a\nENV X=a\nFROM scratch AS b\nENV X=b\nFROM nothing-of-this-name\n",
        options={"target": "b"},
        output=("Step 2/2 : ENV X=b",),
    ),
    Case(
        name="a target that is not there",
        dockerfile="FROM scratch AS first\n",
        options={"target": "frist"},
        error='target stage "frist" could not be found',
    ),
    Case(
        name="a base that is another stage, and its configuration",
        dockerfile='FROM builtin/busybox AS a\nENV A=1\nCMD ["x"]\nFROM a\nENV B=2\n',
        config={"Cmd": ["x"]},
    ),
    Case(name="no base", dockerfile="RUN true\n", error="no build stage in current context"),
    Case(name="an empty Dockerfile", dockerfile="", error="the Dockerfile (Dockerfile) cannot be empty"),
    Case(name="only a comment", dockerfile="# nothing\n", error="file with no instructions"),
    Case(name="an unknown instruction", dockerfile="FROM scratch\nRUNN x\n", error="unknown instruction: RUNN"),
    Case(
        name="another name of the Dockerfile",
        dockerfile="FROM nothing\n",
        context={"docker/": "", "docker/Other": "FROM scratch\nENV X=1\n"},
        options={"dockerfile": "docker/Other"},
        output=("ENV X=1",),
    ),
    Case(
        name="a Dockerfile that is not there",
        dockerfile="FROM scratch\n",
        options={"dockerfile": "nope"},
        error="Cannot locate specified Dockerfile: nope",
    ),
    Case(
        name="a Dockerfile outside of the context",
        dockerfile="FROM scratch\n",
        options={"dockerfile": "../../etc/passwd"},
        error="Cannot locate specified Dockerfile",
    ),
    Case(
        name="a Dockerfile that is a link out of the context",
        dockerfile="FROM scratch\n",
        context={"link": "->/etc/passwd"},
        options={"dockerfile": "link"},
        error="Cannot locate specified Dockerfile: link",
    ),
    Case(
        name="RUN as a list",
        dockerfile='FROM builtin/busybox\nRUN ["/bin/busybox", "touch", "/made"]\n',
        tree={"/made": "644 0:0 "},
    ),
    Case(
        name="RUN as a here-document",
        dockerfile="FROM builtin/busybox\nRUN <<END\necho one > /made\necho two >> /made\nEND\n",
        tree={"/made": "644 0:0 one\ntwo\n"},
    ),
    Case(
        name="what RUN removes is gone",
        dockerfile="FROM builtin/busybox\nRUN echo 1 > /a\nRUN rm /a && echo 2 > /b\n",
        tree={"/a": None, "/b": "644 0:0 2\n"},
        layers=2,
    ),
    Case(
        name="RUN as another user, elsewhere",
        dockerfile=(
            "FROM builtin/busybox\nWORKDIR /tmp/w\nRUN chown 33:33 .\nUSER www-data\nRUN id -un > who; pwd > where\n"
        ),
        tree={"/tmp/w/who": "644 33:33 www-data\n", "/tmp/w/where": "644 33:33 /tmp/w\n"},
    ),
    Case(
        name="a failed process",
        dockerfile="FROM builtin/busybox\nRUN echo said; exit 42\n",
        error="The command '/bin/sh -c echo said; exit 42' returned a non-zero code: 42",
    ),
    Case(
        name="a mount of the context",
        dockerfile="FROM builtin/busybox\nRUN --mount=target=/ctx cp /ctx/e /copied\n",
        context={"e": "3"},
        tree={"/copied": "644 0:0 3", "/ctx": None},
    ),
    Case(
        name="a mount of a stage",
        dockerfile=(
            "FROM builtin/busybox AS a\nRUN echo 1 > /f\nFROM builtin/busybox\n"
            "RUN --mount=from=a,source=/f,target=/g cat /g > /copied\n"
        ),
        tree={"/copied": "644 0:0 1\n", "/g": None},
    ),
    Case(
        name="a tmpfs leaves nothing",
        dockerfile="FROM builtin/busybox\nRUN --mount=type=tmpfs,target=/t echo 1 > /t/f; ls /t > /seen\n",
        tree={"/seen": "644 0:0 f\n", "/t/f": None},
    ),
    Case(
        name="a cache is kept from one process to the next, and is in no layer",
        dockerfile=(
            "FROM builtin/busybox\nRUN --mount=type=cache,target=/c echo 1 > /c/f\n"
            "RUN --mount=type=cache,target=/c cp /c/f /copied\n"
        ),
        tree={"/copied": "644 0:0 1\n", "/c/f": None},
    ),
    Case(
        name="a secret that must be there",
        dockerfile="FROM builtin/busybox\nRUN --mount=type=secret,id=s,required=true true\n",
        error="secret s: not found",
    ),
    Case(
        name="no network",
        dockerfile="FROM builtin/busybox\nRUN --network=none ls /sys/class/net > /seen\n",
        tree={"/seen": "644 0:0 lo\n"},
    ),
    Case(
        name="hosts that are added",
        dockerfile="FROM builtin/busybox\nRUN grep -c 10.1.2.3 /etc/hosts > /seen\n",
        options={"extrahosts": "there:10.1.2.3"},
        tree={"/seen": "644 0:0 1\n"},
    ),
    Case(
        name="a limit of a process",
        dockerfile="FROM builtin/busybox\nRUN ulimit -n > /seen\n",
        options={"ulimits": '[{"Name": "nofile", "Soft": 99, "Hard": 100}]'},
        tree={"/seen": "644 0:0 99\n"},
    ),
    Case(
        name="BuildKit's version of the API",
        dockerfile="FROM scratch\n",
        options={"version": "2"},
        error="BuildKit is not supported by this engine's API",
    ),
    Case(
        name="a tag that is none", dockerfile="FROM scratch\n", options={"t": "A:b"}, error="invalid reference format"
    ),
)
