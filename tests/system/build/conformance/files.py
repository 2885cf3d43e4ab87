"""COPY, ADD and WORKDIR: what is where, whose it is, and with which mode."""

from __future__ import annotations

import io
import tarfile

from tests.support.build_cases import Case


def _tar(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(content), 0o640, 7, 8
            tar.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()


_TREE = {"d/": "", "d/a": "1", "d/sub/": "", "d/sub/b": ("2", 0o755), "e": "3", "x.txt": "4", "y.txt": "5"}

CASES = (
    Case(
        name="a file to a file",
        dockerfile="FROM scratch\nCOPY e /to/file\n",
        context=_TREE,
        tree={"/to": "755 0:0 /", "/to/file": "644 0:0 3"},
        exact=True,
    ),
    Case(
        name="a file to a directory that is not there",
        dockerfile="FROM scratch\nCOPY e /to/\n",
        context=_TREE,
        tree={"/to/e": "644 0:0 3"},
    ),
    Case(
        name="a directory is its contents",
        dockerfile="FROM scratch\nCOPY d /to\n",
        context=_TREE,
        tree={"/to/a": "644 0:0 1", "/to/sub/b": "755 0:0 2", "/to/d": None},
    ),
    Case(
        name="all of the context",
        dockerfile="FROM scratch\nCOPY . /\n",
        context=_TREE,
        tree={"/Dockerfile": "644 0:0 FROM scratch\nCOPY . /\n", "/d/a": "644 0:0 1", "/e": "644 0:0 3"},
    ),
    Case(
        name="a wildcard",
        dockerfile="FROM scratch\nCOPY *.txt /to/\n",
        context=_TREE,
        tree={"/to/x.txt": "644 0:0 4", "/to/y.txt": "644 0:0 5", "/to/e": None},
    ),
    Case(
        name="several sources",
        dockerfile="FROM scratch\nCOPY e x.txt d /to/\n",
        context=_TREE,
        tree={"/to/e": "644 0:0 3", "/to/x.txt": "644 0:0 4", "/to/a": "644 0:0 1"},
    ),
    Case(
        name="several sources to one file: the last stays, as in BuildKit",
        dockerfile="FROM scratch\nCOPY e x.txt /to\n",
        context=_TREE,
        tree={"/to": "644 0:0 4"},
    ),
    Case(
        name="JSON, with a space in a name",
        dockerfile='FROM scratch\nCOPY ["a b", "/c d"]\n',
        context={"a b": "x"},
        tree={"/c d": "644 0:0 x"},
    ),
    Case(
        name="a source that is not there",
        dockerfile="FROM scratch\nCOPY nothing /\n",
        error='"/nothing": not found',
    ),
    Case(
        name="a source cannot climb out of the context",
        dockerfile="FROM scratch\nCOPY ../../e /f\n",
        context=_TREE,
        tree={"/f": "644 0:0 3"},
    ),
    Case(
        name="owner by number",
        dockerfile="FROM scratch\nCOPY --chown=5:6 d /to\n",
        context=_TREE,
        tree={"/to/a": "644 5:6 1", "/to/sub": "755 5:6 /"},
    ),
    Case(
        name="one number is user and group",
        dockerfile="FROM scratch\nCOPY --chown=5 e /e\n",
        context=_TREE,
        tree={"/e": "644 5:5 3"},
    ),
    Case(
        name="owner by name",
        dockerfile="FROM builtin/busybox\nCOPY --chown=www-data e /e\nCOPY --chown=nobody:users e /f\n",
        context=_TREE,
        tree={"/e": "644 33:33 3", "/f": "644 65534:100 3"},
    ),
    Case(
        name="a name that the image does not know",
        dockerfile="FROM builtin/busybox\nCOPY --chown=stranger e /e\n",
        context=_TREE,
        error="stranger",
    ),
    Case(
        name="a mode",
        dockerfile="FROM scratch\nCOPY --chmod=600 e /e\n",
        context=_TREE,
        tree={"/e": "600 0:0 3"},
    ),
    Case(
        name="a symbolic mode",
        dockerfile="FROM scratch\nCOPY --chmod=u=rwX,go=rX d /to\n",
        context={"d/": "", "d/a": ("1", 0o600), "d/x": ("2", 0o700)},
        tree={"/to/a": "644 0:0 1", "/to/x": "755 0:0 2"},
    ),
    Case(
        name="a mode that is none",
        dockerfile="FROM scratch\nCOPY --chmod=u+y e /e\n",
        context=_TREE,
        error="invalid chmod parameter: 'u+y'",
    ),
    Case(
        name="links are followed only as the source",
        dockerfile="FROM scratch\nCOPY link /to-file\nCOPY dir /to\n",
        context={"e": "3", "link": "->e", "dir/": "", "dir/inner": "->../e"},
        tree={"/to-file": "644 0:0 3", "/to/inner": "-> ../e"},
    ),
    Case(
        name="a link that climbs stays in the context",
        dockerfile="FROM scratch\nCOPY link /f\n",
        context={"link": "->../../../../etc/passwd"},
        error="not found",
    ),
    Case(
        name="what is left out",
        dockerfile="FROM scratch\nCOPY --exclude=*.txt --exclude=d . /to/\n",
        context=_TREE,
        tree={"/to/e": "644 0:0 3", "/to/x.txt": None, "/to/d": None},
    ),
    Case(
        name="with parents",
        dockerfile="FROM scratch\nCOPY --parents d/sub/b x.txt /to/\n",
        context=_TREE,
        tree={"/to/d/sub/b": "755 0:0 2", "/to/x.txt": "644 0:0 4"},
    ),
    Case(
        name="with parents from a pivot on",
        dockerfile="FROM scratch\nCOPY --parents ./d/./sub/b /to/\n",
        context=_TREE,
        tree={"/to/sub/b": "755 0:0 2", "/to/d": None},
    ),
    Case(
        name="a layer of its own",
        dockerfile="FROM builtin/busybox\nCOPY --link e /linked/e\n",
        context=_TREE,
        tree={"/linked/e": "644 0:0 3"},
        layers=1,
    ),
    Case(
        name="a here-document",
        dockerfile="FROM scratch\nARG WHO=you\nCOPY <<END <<'RAW' /to/\nhello $WHO\nEND\nhello $WHO\nRAW\n",
        tree={"/to/END": "644 0:0 hello you\n", "/to/RAW": "644 0:0 hello $WHO\n"},
    ),
    Case(
        name="a here-document to a file, with its tabs removed",
        dockerfile="FROM scratch\nCOPY --chmod=755 <<-END /run\n\t#!/bin/sh\n\techo hi\nEND\n",
        tree={"/run": "755 0:0 #!/bin/sh\necho hi\n"},
    ),
    Case(
        name="an archive is unpacked by ADD",
        dockerfile="FROM scratch\nADD files.tar.gz /to/\n",
        context={"files.tar.gz": _tar(one="1", dir__two="2")},
        tree={"/to/one": "640 7:8 1", "/to/dir/two": "640 7:8 2", "/to/files.tar.gz": None},
    ),
    Case(
        name="and not where that is not asked for",
        dockerfile="FROM scratch\nADD --unpack=false files.tar.gz /to/\nCOPY files.tar.gz /copied/\n",
        context={"files.tar.gz": "no archive"},
        tree={"/to/files.tar.gz": "644 0:0 no archive", "/copied/files.tar.gz": "644 0:0 no archive"},
    ),
    Case(
        name="ADD of what is no archive",
        dockerfile="FROM scratch\nADD e d /to/\n",
        context=_TREE,
        tree={"/to/e": "644 0:0 3", "/to/a": "644 0:0 1"},
    ),
    Case(
        name="relative to the working directory",
        dockerfile="FROM scratch\nWORKDIR /w\nWORKDIR v\nCOPY e .\nCOPY e f\n",
        context=_TREE,
        config={"WorkingDir": "/w/v"},
        tree={"/w/v": "755 0:0 /", "/w/v/e": "644 0:0 3", "/w/v/f": "644 0:0 3"},
    ),
    Case(
        name="a directory over a file",
        dockerfile="FROM scratch\nCOPY e /to\nCOPY d /to/\n",
        context=_TREE,
        error="not a directory",
    ),
    Case(
        name="a file replaces a file",
        dockerfile="FROM scratch\nCOPY e /f\nCOPY x.txt /f\n",
        context=_TREE,
        tree={"/f": "644 0:0 4"},
    ),
    Case(
        name="a variable in paths",
        dockerfile="FROM scratch\nARG NAME=e\nENV TO=/dir\nCOPY $NAME ${TO}/${NAME}.new\n",
        context=_TREE,
        tree={"/dir/e.new": "644 0:0 3"},
    ),
    Case(
        name="an ignore file hides what the builder reads",
        dockerfile="FROM scratch\nCOPY . /\n",
        context={".dockerignore": "Dockerfile\n.dockerignore\n", "e": "3"},
        tree={"/e": "644 0:0 3"},
        exact=True,
    ),
)
