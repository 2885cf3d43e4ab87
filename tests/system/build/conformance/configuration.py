"""Instructions that change the image's configuration, and variables."""

from __future__ import annotations

import json

from tests.support.build_cases import Case

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SECOND = 1_000_000_000

CASES = (
    Case(name="CMD as a list", dockerfile='FROM builtin/busybox\nCMD ["a", "b"]\n', config={"Cmd": ["a", "b"]}),
    Case(name="CMD as a text", dockerfile="FROM builtin/busybox\nCMD a b\n", config={"Cmd": ["/bin/sh", "-c", "a b"]}),
    Case(
        name="ENTRYPOINT takes the base's CMD away",
        dockerfile='FROM builtin/busybox AS base\nCMD ["a"]\nFROM base\nENTRYPOINT ["b"]\n',
        config={"Entrypoint": ["b"], "Cmd": None},
    ),
    Case(
        name="and not that of the same stage",
        dockerfile='FROM builtin/busybox\nCMD ["a"]\nENTRYPOINT ["b"]\n',
        config={"Entrypoint": ["b"], "Cmd": ["a"]},
    ),
    Case(
        name="ENV in all forms",
        dockerfile="FROM scratch\nENV A=1 B=\"2 3\" C='$A'\nENV D $A$B\nENV A=9\n",
        config={"Env": [_PATH, "A=9", "B=2 3", "C=$A", "D=12 3"]},
    ),
    Case(
        name="defaults in variables",
        dockerfile="FROM scratch\nENV A=${X:-none} B=${X:+some} \nENV C=${A:+some} D=${A#no} E=${A%ne} F=${A/n/N}\n",
        config={"Env": [_PATH, "A=none", "B=", "C=some", "D=ne", "E=no", "F=None"]},
    ),
    Case(
        name="a variable that must be set",
        dockerfile='FROM scratch\nENV A="${X:?is missing}"\n',
        error="X: is missing",
    ),
    Case(
        name="LABEL, and labels of the build",
        dockerfile='FROM scratch\nLABEL a=1 "b c"="d e"\nLABEL a=2\n',
        options={"labels": json.dumps({"a": "3", "of": "build"})},
        config={"Labels": {"a": "3", "b c": "d e", "of": "build"}},
    ),
    Case(
        name="EXPOSE",
        dockerfile="FROM scratch\nARG PORT=53\nEXPOSE 80 $PORT/udp 7000-7002\n",
        config={"ExposedPorts": {f"{port}": {} for port in ("80/tcp", "53/udp", "7000/tcp", "7001/tcp", "7002/tcp")}},
    ),
    Case(name="EXPOSE of nonsense", dockerfile="FROM scratch\nEXPOSE 99999\n", error="invalid"),
    Case(
        name="VOLUME in both forms",
        dockerfile='FROM scratch\nVOLUME /a /b\nVOLUME ["/c d"]\n',
        config={"Volumes": {"/a": {}, "/b": {}, "/c d": {}}},
    ),
    Case(name="USER", dockerfile="FROM scratch\nUSER me:us\n", config={"User": "me:us"}),
    Case(name="WORKDIR", dockerfile="FROM builtin/busybox\nWORKDIR /a\nWORKDIR ../b\n", config={"WorkingDir": "/b"}),
    Case(name="STOPSIGNAL", dockerfile="FROM scratch\nSTOPSIGNAL SIGINT\n", config={"StopSignal": "SIGINT"}),
    Case(name="STOPSIGNAL of nonsense", dockerfile="FROM scratch\nSTOPSIGNAL SIGNOT\n", error="SIGNOT"),
    Case(
        name="SHELL",
        dockerfile='FROM builtin/busybox\nSHELL ["/bin/busybox", "sh", "-c"]\nCMD x\nRUN echo in $0\n',
        config={"Shell": ["/bin/busybox", "sh", "-c"], "Cmd": ["/bin/busybox", "sh", "-c", "x"]},
    ),
    Case(
        name="HEALTHCHECK",
        dockerfile="FROM scratch\nHEALTHCHECK --interval=5s --timeout=2s --start-period=1m --retries=3 CMD check me\n",
        config={
            "Healthcheck": {
                "Test": ["CMD-SHELL", "check me"],
                "Interval": 5 * _SECOND,
                "Timeout": 2 * _SECOND,
                "StartPeriod": 60 * _SECOND,
                "Retries": 3,
            }
        },
    ),
    Case(
        name="HEALTHCHECK NONE",
        dockerfile="FROM scratch\nHEALTHCHECK NONE\n",
        config={"Healthcheck": {"Test": ["NONE"]}},
    ),
    Case(
        name="ONBUILD is kept for others",
        dockerfile="FROM scratch\nONBUILD COPY e /\n",
        config={"OnBuild": ["COPY e /"]},
    ),
    Case(
        name="and run for a stage on it",
        dockerfile="FROM builtin/busybox AS base\nONBUILD RUN echo triggered > /t\nFROM base\nRUN cat /t\n",
        config={"OnBuild": None},
        output=("# Executing 1 build trigger", "triggered"),
        tree={"/t": "644 0:0 triggered\n"},
    ),
    Case(
        name="MAINTAINER",
        dockerfile="FROM scratch\nMAINTAINER me\nCMD x\n",
        output=("MaintainerDeprecated",),
        config={"Cmd": ["/bin/sh", "-c", "x"]},
    ),
    Case(
        name="build arguments",
        dockerfile="FROM scratch\nARG A=1\nARG B\nENV X=$A Y=$B\n",
        options={"buildargs": json.dumps({"A": "given", "B": "also"})},
        config={"Env": [_PATH, "X=given", "Y=also"]},
    ),
    Case(
        name="an argument without a value",
        dockerfile="FROM scratch\nARG A=1\nENV X=$A\n",
        options={"buildargs": json.dumps({"A": None})},
        config={"Env": [_PATH, "X=1"]},
    ),
    Case(
        name="an argument before FROM has to be declared again",
        dockerfile="ARG A=busybox\nARG B=2\nFROM builtin/$A\nARG B\nENV X=$B Y=$A\n",
        config={"Env": [_PATH, "X=2", "Y="]},
    ),
    Case(
        name="arguments of the platform",
        dockerfile="FROM scratch\nARG TARGETPLATFORM\nARG TARGETOS\nARG BUILDOS\nENV X=$TARGETOS/$BUILDOS\n",
        config={"Env": [_PATH, "X=linux/linux"]},
    ),
    Case(
        name="an argument is a variable of processes, and not of the image",
        dockerfile="FROM builtin/busybox\nARG A=1\nRUN echo said $A\n",
        output=("said 1",),
        config={"Env": [_PATH]},
    ),
    Case(
        name="the history of all",
        dockerfile='FROM builtin/busybox\nENV A=1\nCOPY e /\nRUN true\nCMD ["x"]\n',
        context={"e": "3"},
        history=("ENV A=1", "COPY e / # buildkit", "RUN /bin/sh -c true # buildkit", 'CMD ["x"]'),
        layers=2,
    ),
    Case(
        name="another escape character",
        dockerfile="# escape=`\nFROM scratch\nENV A=1 `\n    B=2\n",
        config={"Env": [_PATH, "A=1", "B=2"]},
    ),
    Case(
        name="comments and continued lines",
        dockerfile="# a comment\nFROM scratch\nENV A=1 \\\n  # in between\n  B=2\n\n# end\n",
        config={"Env": [_PATH, "A=1", "B=2"]},
    ),
)
