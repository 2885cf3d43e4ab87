"""Trees on top of trees: links, modes, names, what is replaced and what goes."""

from __future__ import annotations

from tests.support.build_cases import Case

_BASE = "FROM builtin/busybox AS base\n"

CASES = (
    Case(
        name="modes with all bits",
        dockerfile="FROM scratch\nCOPY . /to/\n",
        context={"suid": ("x", 0o4755), "sgid": ("x", 0o2755), "none": ("x", 0), "dir/": ("", 0o1777)},
        tree={
            "/to/suid": "4755 0:0 x",
            "/to/sgid": "2755 0:0 x",
            "/to/none": "0 0:0 x",
            "/to/dir": "1777 0:0 /",
        },
    ),
    Case(
        name="names that are hard to write",
        dockerfile='FROM scratch\nCOPY . /to/\nCOPY ["-dash", "/other/"]\n',
        context={"a b": "1", "é ü": "2", "-dash": "3", "quo'te": "4", "back\\slash": "5", "$dollar": "6"},
        tree={
            "/to/a b": "644 0:0 1",
            "/to/é ü": "644 0:0 2",
            "/other/-dash": "644 0:0 3",
            "/to/quo'te": "644 0:0 4",
            "/to/back\\slash": "644 0:0 5",
            "/to/$dollar": "644 0:0 6",
        },
    ),
    Case(
        name="a dollar that is meant",
        dockerfile="FROM scratch\nCOPY \\$dollar /to\n",
        context={"$dollar": "6"},
        tree={"/to": "644 0:0 6"},
    ),
    Case(
        name="a wildcard character that is meant",
        dockerfile="FROM scratch\nCOPY a[[]b /to\n",
        context={"a[b": "1", "ab": "2"},
        tree={"/to": "644 0:0 1"},
    ),
    Case(
        name="a wildcard in a directory, and one that has directories",
        dockerfile="FROM scratch\nCOPY */f /one/\nCOPY d? /two/\n",
        context={"d1/": "", "d1/f": "1", "e/": "", "e/g": "2", "d2/": "", "d2/h": "3"},
        tree={"/one/f": "644 0:0 1", "/two/f": "644 0:0 1", "/two/h": "644 0:0 3", "/one/g": None},
    ),
    Case(
        name="a wildcard that nothing matches copies nothing, as in BuildKit",
        dockerfile="FROM scratch\nCOPY *.none /to/\n",
        context={"a": "1"},
        tree={"/to/a": None, "/a": None},
    ),
    Case(
        name="an empty directory",
        dockerfile="FROM scratch\nCOPY d /to/d\n",
        context={"d/": ("", 0o700)},
        tree={"/to/d": "700 0:0 /"},
    ),
    Case(
        name="a directory that is there keeps its mode, one in it takes that of the one that comes",
        dockerfile="FROM scratch\nCOPY one /to\nCOPY two /to\n",
        context={"one/": "", "one/a": "1", "one/d/": "", "two/": ("", 0o700), "two/b": "2", "two/d/": ("", 0o711)},
        tree={"/to": "755 0:0 /", "/to/a": "644 0:0 1", "/to/b": "644 0:0 2", "/to/d": "711 0:0 /"},
    ),
    Case(
        name="a link of the image as the destination leads on in the image",
        dockerfile=_BASE + "RUN mkdir /real && ln -s /real /link\nCOPY a /link/\n",
        context={"a": "1"},
        tree={"/real/a": "644 0:0 1", "/link": "-> /real"},
    ),
    Case(
        name="a link that climbs as the destination stays in the image",
        dockerfile=_BASE + "RUN ln -s ../../../../../../climbed /link && mkdir /climbed\nCOPY a /link/\n",
        context={"a": "1"},
        tree={"/climbed/a": "644 0:0 1"},
    ),
    Case(
        name="a file of a stage by a link of the stage",
        dockerfile=_BASE + "RUN echo 1 > /f && ln -s /f /l\nFROM scratch\nCOPY --from=base /l /l\n",
        tree={"/l": "644 0:0 1\n"},
    ),
    Case(
        name="a directory of a stage with links and hard links in it",
        dockerfile=(
            _BASE + "RUN mkdir /d && echo 1 > /d/a && ln /d/a /d/b && ln -s a /d/c && mkfifo /d/p\n"
            "FROM scratch\nCOPY --from=base /d /d\n"
        ),
        tree={"/d/a": "644 0:0 1\n", "/d/b": "644 0:0 1\n", "/d/c": "-> a"},
    ),
    Case(
        name="what is removed and made again",
        dockerfile=_BASE + "RUN mkdir /d && touch /d/old\nRUN rm -r /d && mkdir /d && touch /d/new\n",
        tree={"/d/new": "644 0:0 ", "/d/old": None},
    ),
    Case(
        name="a directory in the place of a file",
        dockerfile=_BASE + "RUN echo 1 > /x\nRUN rm /x && mkdir /x && echo 2 > /x/y\n",
        tree={"/x": "755 0:0 /", "/x/y": "644 0:0 2\n"},
    ),
    Case(
        name="a mode that a process changes",
        dockerfile=_BASE + "RUN echo 1 > /x\nRUN chmod 4711 /x\nRUN chown 5:6 /x\n",
        tree={"/x": "711 5:6 1\n"},
    ),
    Case(
        name="files in a volume of the image stay, as in BuildKit",
        dockerfile=_BASE + "VOLUME /v\nRUN mkdir /v && echo 1 > /v/f\n",
        tree={"/v/f": "644 0:0 1\n"},
        config={"Volumes": {"/v": {}}},
    ),
    Case(
        name="a working directory that is there keeps its owner",
        dockerfile=_BASE + "RUN mkdir /w && chown 7:8 /w\nWORKDIR /w\nWORKDIR new\n",
        tree={"/w": "755 7:8 /", "/w/new": "755 0:0 /"},
    ),
    Case(
        name="a working directory with variables",
        dockerfile="FROM scratch\nENV TO=/some\nWORKDIR $TO/${NONE:-where}\n",
        config={"WorkingDir": "/some/where"},
        tree={"/some/where": "755 0:0 /"},
    ),
    Case(
        name="layers of copies that do not depend on what is below",
        dockerfile=_BASE + "COPY --link a /new/a\nCOPY --link --chown=3:4 b /new/b\nRUN cat /new/a /new/b > /both\n",
        context={"a": "1", "b": "2"},
        tree={"/new/a": "644 0:0 1", "/new/b": "644 3:4 2", "/both": "644 0:0 12"},
        layers=3,
    ),
    Case(
        name="a copy over a link replaces what it leads to",
        dockerfile=_BASE + "RUN echo 1 > /real && ln -s /real /link\nCOPY a /link\n",
        context={"a": "2"},
        tree={"/real": "644 0:0 2", "/link": "-> /real"},
    ),
    Case(
        name="the owner of directories that are made on the way",
        dockerfile="FROM scratch\nCOPY --chown=5:6 a /x/y/z\n",
        context={"a": "1"},
        tree={"/x": "755 5:6 /", "/x/y": "755 5:6 /", "/x/y/z": "644 5:6 1"},
    ),
    Case(
        name="what is left out of a stage",
        dockerfile=_BASE
        + "RUN mkdir /d && touch /d/a.log /d/b\nFROM scratch\nCOPY --from=base --exclude=*.log /d /d\n",
        tree={"/d/b": "644 0:0 ", "/d/a.log": None},
    ),
    Case(
        name="a large file",
        dockerfile=_BASE + "RUN head -c 3000000 /dev/zero > /z\nFROM scratch\nCOPY --from=base /z /z\n",
        tree={"/z": "644 0:0 " + "\0" * 3_000_000},
    ),
)
