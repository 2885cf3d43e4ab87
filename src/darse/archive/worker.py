"""The process that touches untrusted archives and trees: unpacks a layer's archive, rebuilds it, and packs one.

It runs as the engine's user, which may set owners, in the tree as its root directory (`darse.linux.proc.sandbox`).

    python -I -S -c '…' MODE DIRECTORY [KEY=VALUE]…

    unpack    stdin: the archive. Keys: extra (the descriptor of the tar-split metadata, to be written), size, limit
              (bytes; -1: unknown), owners (see `Owners.parse`)
    rebuild   stdin: the tar-split metadata. Keys: extra (the descriptor that the archive goes to)
    verify    stdin: the tar-split metadata
    files     stdin: an archive of files that is no layer. Keys: entries, limit (how many, and bytes; -1: no bound)
    changes   stdin: contents of files. Keys: extra (the descriptor of the job, which becomes that of its results): see
              `darse.archive.tree_changes`
    pack      stdin: nothing. Keys: extra (the descriptor that the archive goes to), skip (paths, with colons between
              them), owners (as above; the way back), newest (seconds; later times become this one)
    export    stdin: nothing. Keys: extra, owners (as for pack). The directory is a volume: no name means what is gone
    import    stdin: an archive of a volume. Keys: owners (as for unpack)
    copy      stdin: nothing. Keys: extra (the descriptor of the directory that is copied into this one), overlay (it is
              the upper directory of an overlay, and is to be one)
    record    stdin: nothing. Keys: extra (the descriptor of the tar-split metadata, to be written): see `record_layer`
    convert   stdin: docker's `tar-split.json.gz`. Keys: extra (the descriptor of the tar-split metadata, to be written)

It answers with lines `KEY VALUE` on stdout: `digest`, `length` and `content` (bytes) of the archive, or `entries` and
`content` where it is no layer; or `error`, why
it is refused; or `fault`, why this host could not hold it; or `damaged`; or `closed`, when nobody takes the archive any
more.

It confines itself to DIRECTORY before it reads more than the six bytes that tell the compression, see
`darse.linux.proc.sandbox`: no path in the archive can name anything outside, what is made there cannot be run or
opened as a device, and a decoder that is made to run an attacker's code finds neither files, nor a network, nor
privileges but to change the owners and attributes of what it makes. The answer's digest is checked by the engine
against what the image's config says.
"""

from __future__ import annotations

import gc
import os
import sys

from darse.archive import tar_split
from darse.archive.apply_layer import HOST_FAULTS, LayerUnpacker
from darse.archive.errors import ArchiveRefused, Damaged
from darse.archive.id_mapping import Owners
from darse.archive.layer_diff import LayerPacker
from darse.archive.layer_record import record_layer
from darse.archive.reassemble import Reassembler
from darse.archive.stream import Stream
from darse.archive.tar import Blocks, Reader
from darse.linux.proc import sandbox

TYPE_CHECKING = False  # not typing's, whose import is a third of a worker's start
if TYPE_CHECKING:
    from darse.archive.tar import Entry

# Bytes of address space: buffers, threads' stacks, and what decompressors may want.
_MEMORY = 1 << 30
_OPEN_FILES = 256
# A walk that packs keeps more of them.
_MANY_FILES = 1024
_CAPABILITY = b"security.capability"
# For attributes of the class `trusted`; the calls for which it is good otherwise are denied.
_UNPACK = sandbox.WRITE_TREES | {sandbox.CAP_SYS_ADMIN}
_READ = frozenset((sandbox.CAP_DAC_READ_SEARCH,))


def unpack(options: dict[str, str]) -> dict[str, object]:
    """Unpack stdin; return the answer."""
    stream = Stream(0, int(options.get("size", -1)), int(options.get("limit", -1)))
    stream.prepare()
    sandbox.enter(options["directory"], _UNPACK, memory=_MEMORY, open_files=_OPEN_FILES)
    stream.start()
    writer = tar_split.TarSplitWriter(int(options["extra"]))
    reader = Reader(Blocks(stream.buffers()), writer.raw)
    unpacker = LayerUnpacker(reader, writer, _owners(options))
    unpacker.run()
    digest = stream.digest()
    writer.finish(digest, stream.length, unpacker.content)
    return {"digest": digest.hex(), "length": stream.length, "content": unpacker.content}


def files(options: dict[str, str]) -> dict[str, object]:
    """Unpack stdin, the archive of a build's context; return the answer."""
    from darse.archive.unpack_files import FilesUnpacker  # noqa: PLC0415 - layers do not need it

    unpacker = FilesUnpacker(0, int(options.get("entries", -1)), int(options.get("limit", -1)))
    unpacker.prepare()
    sandbox.enter(options["directory"], sandbox.WRITE_TREES, memory=_MEMORY, open_files=_OPEN_FILES)
    unpacker.run()
    return {"entries": unpacker.entries, "content": unpacker.size}


def changes(options: dict[str, str]) -> dict[str, object]:
    """Change the directory, with the contents on stdin; return the answer."""
    from darse.archive.tree_changes import TreeChanger  # noqa: PLC0415 - layers do not need it

    changer = TreeChanger(int(options["extra"]), 0)
    sandbox.enter(options["directory"], sandbox.WRITE_TREES, memory=_MEMORY, open_files=_OPEN_FILES)
    changer.run()
    return {"files": changer.files}


def rebuild(options: dict[str, str], target: int | None) -> dict[str, object]:
    """Rebuild the archive whose tar-split metadata is stdin; return the answer."""
    sandbox.enter(options["directory"], _READ, memory=_MEMORY, open_files=_OPEN_FILES, writable=False)
    reader = tar_split.TarSplitReader(0)
    reassembler = Reassembler(reader, target)
    reassembler.start()
    reassembler.run()
    return {"digest": reader.head.digest.hex(), "length": reader.head.length, "content": reader.head.content}


def pack(options: dict[str, str]) -> dict[str, object]:
    """Pack the directory; the answer is empty."""
    sandbox.enter(
        options["directory"],
        # Attributes of the class `trusted` are shown to administrators only.
        _READ | {sandbox.CAP_SYS_ADMIN},
        memory=_MEMORY,
        open_files=_OPEN_FILES,
        writable=False,
    )
    owners = _owners(options)
    skip = frozenset(os.fsencode(path) for path in options.get("skip", "").split(":") if path)
    newest = int(options["newest"]) if options.get("newest") else None
    LayerPacker(int(options["extra"]), skip, owners and owners.reversed(), newest=newest).run()
    return {}


def export(options: dict[str, str]) -> dict[str, object]:
    """Pack a volume; the answer says how many of its files became shorter meanwhile."""
    from darse.archive.tar_writer import TreePacker  # noqa: PLC0415 - layers do not need it

    sandbox.enter(options["directory"], _READ, memory=_MEMORY, open_files=_MANY_FILES, writable=False)
    owners = _owners(options)
    packer = TreePacker(int(options["extra"]), owners=owners and owners.reversed(), sparse=True)
    packer.add(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), ".", b"./")
    packer.finish()
    return {"shortened": packer.shortened}


def import_(options: dict[str, str]) -> dict[str, object]:
    """Unpack stdin, the archive of a volume; return the answer."""
    from darse.archive.unpack_files import FilesUnpacker  # noqa: PLC0415 - layers do not need it

    owners = _owners(options)

    def own(entry: Entry) -> None:
        if owners is not None:
            entry.uid, entry.gid = owners.user(entry.uid), owners.group(entry.gid)
            if entry.xattrs and _CAPABILITY in entry.xattrs:
                entry.xattrs = {**entry.xattrs, _CAPABILITY: owners.capability(entry.xattrs[_CAPABILITY])}

    unpacker = FilesUnpacker(0, -1, -1, own)
    unpacker.prepare()
    sandbox.enter(options["directory"], sandbox.WRITE_TREES, memory=_MEMORY, open_files=_OPEN_FILES)
    unpacker.run()
    return {"entries": unpacker.entries, "content": unpacker.size}


def copy(options: dict[str, str]) -> dict[str, object]:
    """Copy another directory, which is open, into this one; return the answer."""
    from darse.archive.tree_copy import TreeCopy  # noqa: PLC0415 - layers do not need it

    # Attributes of the class `trusted` are for administrators only.
    capabilities = sandbox.WRITE_TREES | _READ | {sandbox.CAP_SYS_ADMIN}
    sandbox.enter(options["directory"], capabilities, memory=_MEMORY, open_files=_OPEN_FILES)
    target = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    copying = TreeCopy(int(options["extra"]), target, shares=True, overlay="overlay" in options)
    copying.run()
    return {"files": copying.files, "content": copying.size}


def record(options: dict[str, str]) -> dict[str, object]:
    """Record the directory as a layer; return the answer."""
    capabilities = _READ | {sandbox.CAP_SYS_ADMIN}  # as for a pack
    sandbox.enter(options["directory"], capabilities, memory=_MEMORY, open_files=_OPEN_FILES, writable=False)
    return record_layer(int(options["extra"]))


def convert(options: dict[str, str]) -> dict[str, object]:
    """Verify the directory as a layer of docker's; return the answer."""
    from darse.archive.convert_tar_split import TarSplitConverter  # noqa: PLC0415 - others do not need it

    sandbox.enter(options["directory"], _READ, memory=_MEMORY, open_files=_OPEN_FILES, writable=False)
    converter = TarSplitConverter(0, int(options["extra"]))
    digest = converter.run()
    return {"digest": digest.hex(), "length": converter.length, "content": converter.content}


def _owners(options: dict[str, str]) -> Owners | None:
    text = options.get("owners", "")
    return Owners.parse(text) if text else None


_RARE = {"export": export, "import": import_, "copy": copy, "convert": convert}


def main(arguments: list[str]) -> None:
    """Do what the arguments say, and answer."""
    mode, directory = arguments[:2]
    options = dict(argument.split("=", 1) for argument in arguments[2:])
    options["directory"] = directory
    os.umask(0)
    # There are no cycles to find among bytes, and it would look for them every few hundred entries.
    gc.disable()
    answer: dict[str, object]
    try:
        if mode == "unpack":
            answer = unpack(options)
        elif mode == "files":
            answer = files(options)
        elif mode == "changes":
            answer = changes(options)
        elif mode == "pack":
            answer = pack(options)
        elif mode == "record":
            answer = record(options)
        elif mode in _RARE:
            answer = _RARE[mode](options)
        else:
            answer = rebuild(options, int(options["extra"]) if mode == "rebuild" else None)
    except ArchiveRefused as error:
        answer = {"error": error}
    except Damaged as error:
        answer = {"damaged": error}
    except MemoryError:
        answer = {"error": "it needs more memory than a layer may take"}
    except BrokenPipeError as error:
        answer = {"closed": error}
    except OSError as error:
        kind = (
            "fault" if mode not in ("unpack", "files", "changes", "import") or error.errno in HOST_FAULTS else "error"
        )
        named = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        answer = {kind: f"{os.strerror(error.errno or 0).lower()}{named}", "errno": error.errno or 0}
    text = "".join(f"{key} {str(value).replace(chr(10), ' ')}\n" for key, value in answer.items())
    os.write(1, text.encode(errors="backslashreplace"))
    # Threads may be waiting for buffers that nobody takes any more.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
