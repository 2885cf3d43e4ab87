"""RUN: shells, variables, mounts, what a process has and what it leaves."""

from __future__ import annotations

import json

from tests.support.build_cases import Case

_BASE = "FROM builtin/busybox AS base\n"

CASES = (
    Case(
        name="variables of the image and of the build",
        dockerfile=_BASE + "ENV A=1\nARG B=2\nENV C=$A$B\nRUN echo $A $B $C > /seen\n",
        tree={"/seen": "644 0:0 1 2 12\n"},
    ),
    Case(
        name="a variable of the image goes before an argument of its name",
        dockerfile=_BASE + "ARG A=argument\nENV A=image\nRUN echo $A > /seen\n",
        options={"buildargs": json.dumps({"A": "given"})},
        tree={"/seen": "644 0:0 image\n"},
    ),
    Case(
        name="a shell of the Dockerfile's own",
        dockerfile=_BASE + 'SHELL ["/bin/sh", "-ec"]\nRUN echo 1 > /a; false; echo 2 > /a\n',
        error="The command '/bin/sh -ec echo 1 > /a; false; echo 2 > /a' returned a non-zero code: 1",
    ),
    Case(
        name="quotes are the shell's",
        dockerfile=_BASE + "RUN echo \"a  b\" 'c  d' e\\ f > /seen\n",
        tree={"/seen": "644 0:0 a  b c  d e f\n"},
    ),
    Case(
        name="continued lines with comments in between",
        dockerfile=_BASE + "RUN echo 1 \\\n# not a part\n  2 \\\n\n  3 > /seen\n",
        tree={"/seen": "644 0:0 1 2 3\n"},
    ),
    Case(
        name="a here-document with another interpreter",
        dockerfile=_BASE + "RUN <<END\n#!/bin/busybox ash\necho $0 | grep -c pipes > /seen\nEND\n",
        tree={"/seen": "644 0:0 1\n"},
    ),
    Case(
        name="a here-document as standard input",
        dockerfile=_BASE + "RUN cat <<END > /seen\nline of $HOME\nEND\n",
        tree={"/seen": "644 0:0 line of /root\n"},
    ),
    Case(
        name="two here-documents",
        dockerfile=_BASE + "RUN cat <<A <<B > /seen\none\nA\ntwo\nB\n",
        tree={"/seen": "644 0:0 two\n"},
    ),
    Case(
        name="a program that is not there",
        dockerfile=_BASE + 'RUN ["/no/program"]\n',
        error="/no/program",
    ),
    Case(
        name="a user that is not there",
        dockerfile=_BASE + "USER nobody-of-this-name\nRUN true\n",
        error="nobody-of-this-name",
    ),
    Case(
        name="a user by number, with a group",
        dockerfile=_BASE + "USER 12:34\nRUN id -u > /tmp/u; id -g > /tmp/g\n",
        tree={"/tmp/u": "644 12:34 12\n", "/tmp/g": "644 12:34 34\n"},
    ),
    Case(
        name="a mount of the context that is written to changes nothing",
        dockerfile=_BASE
        + "RUN --mount=target=/c,rw echo changed > /c/a; cat /c/a > /seen\nRUN --mount=target=/c cp /c/a /b\n",
        context={"a": "1"},
        tree={"/seen": "644 0:0 changed\n", "/b": "644 0:0 1"},
    ),
    Case(
        name="and one that is not cannot be",
        dockerfile=_BASE + "RUN --mount=target=/c echo changed > /c/a\n",
        context={"a": "1"},
        error="returned a non-zero code: 1",
    ),
    Case(
        name="a file of the context as a mount",
        dockerfile=_BASE + "RUN --mount=source=d/a,target=/given cat /given > /seen\n",
        context={"d/": "", "d/a": "1"},
        tree={"/seen": "644 0:0 1", "/given": None},
    ),
    Case(
        name="a mount of an image",
        dockerfile=_BASE + "RUN --mount=from=builtin/busybox,target=/m ls /m/bin/busybox > /seen\n",
        tree={"/seen": "644 0:0 /m/bin/busybox\n"},
    ),
    Case(
        name="a mount whose source is not there",
        dockerfile=_BASE + "RUN --mount=source=nothing,target=/m true\n",
        context={"a": "1"},
        error="nothing",
    ),
    Case(
        name="caches by their ids",
        dockerfile=(
            _BASE + "RUN --mount=type=cache,id=one,target=/x echo 1 > /x/f\n"
            "RUN --mount=type=cache,id=two,target=/x test ! -e /x/f\n"
            "RUN --mount=type=cache,id=one,target=/y cp /y/f /seen\n"
        ),
        tree={"/seen": "644 0:0 1\n"},
    ),
    Case(
        name="a cache with an owner and a mode",
        dockerfile=_BASE
        + "RUN --mount=type=cache,id=owned,target=/x,uid=5,gid=6,mode=0711 stat -c '%u %g %a' /x > /seen\n",
        tree={"/seen": "644 0:0 5 6 711\n"},
    ),
    Case(
        name="a cache that begins as a stage",
        dockerfile=(
            _BASE + "RUN mkdir /d && echo 1 > /d/f\n"
            "FROM builtin/busybox\nRUN --mount=type=cache,id=from,from=base,source=/d,target=/x cp /x/f /seen\n"
        ),
        tree={"/seen": "644 0:0 1\n"},
    ),
    Case(
        name="a tmpfs of a size",
        dockerfile=_BASE + "RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1 | awk '{ print $2 }' > /seen\n",
        tree={"/seen": "644 0:0 1024\n"},
    ),
    Case(
        name="a mount of a kind that is none",
        dockerfile=_BASE + "RUN --mount=type=nothing,target=/t true\n",
        error='unsupported mount type "nothing"',
    ),
    Case(
        name="a secret that need not be there",
        dockerfile=_BASE + "RUN --mount=type=secret,id=none ls /run/secrets 2>/dev/null | wc -l > /seen\n",
        tree={"/seen": "644 0:0 0\n"},
    ),
    Case(
        name="the network of the host, by the build's mode",
        dockerfile=_BASE + "RUN readlink /proc/self/ns/net > /seen\n",
        options={"networkmode": "host", "nocache": "1"},
        output=("Successfully built",),
    ),
    Case(
        name="no network, by the build's mode",
        dockerfile=_BASE + "RUN ls /sys/class/net > /seen-of-none\n",
        options={"networkmode": "none"},
        tree={"/seen-of-none": "644 0:0 lo\n"},
    ),
    Case(
        name="a network mode that builds do not have",
        dockerfile=_BASE,
        options={"networkmode": "container:x"},
        error='network mode "container:x" is not supported for builds',
    ),
    Case(
        name="a network that is not there",
        dockerfile=_BASE + "RUN echo network\n",
        options={"networkmode": "no-such-network"},
        error="no-such-network",
    ),
    Case(
        name="shared memory of a size",
        dockerfile=_BASE + "RUN df -k /dev/shm | tail -1 | awk '{ print $2 }' > /seen\n",
        options={"shmsize": str(4 << 20)},
        tree={"/seen": "644 0:0 4096\n"},
    ),
    Case(
        name="a name with a hyphen in arguments that are no JSON",
        dockerfile=_BASE,
        options={"buildargs": "{"},
        error="error reading build args",
    ),
    Case(name="labels that are no JSON", dockerfile=_BASE, options={"labels": "[1]"}, error="error reading labels"),
    Case(name="a version that is none", dockerfile=_BASE, options={"version": "3"}, error='invalid version "3"'),
    Case(
        name="processes have no capabilities that containers do not have",
        dockerfile=_BASE + "RUN mount -t tmpfs none /mnt\n",
        error="returned a non-zero code",
    ),
    Case(
        name="what they leave in /proc, /sys and /dev is in no layer",
        dockerfile=_BASE + "RUN touch /dev/shm/x /tmp/kept\n",
        tree={"/dev/shm/x": None, "/dev/shm": None, "/tmp/kept": "644 0:0 "},
    ),
    Case(
        name="etc files of the engine are in no layer",
        dockerfile="FROM builtin/busybox AS a\nRUN cat /etc/hosts /etc/resolv.conf > /dev/null; rm -f /nothing\n",
        tree={"/etc/resolv.conf": None},
    ),
)
