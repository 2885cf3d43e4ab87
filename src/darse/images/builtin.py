"""Built-in images, assembled from Debian's busybox: `builtin/hello-world`, `builtin/busybox`.

With them, a machine without any registry can run a container. They are assembled when they are first used, with the
same bytes every time for the same busybox, and have a label that marks them. No other name is built in.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from darse.archive.headers import END, entry_headers, padded
from darse.archive.tar import DIRECTORY, REGULAR, SYMLINK
from darse.core import executors
from darse.core.errors import NotFound, Unavailable
from darse.core.events import EventLog
from darse.image_spec import platforms
from darse.image_spec.platforms import Platform
from darse.images import references
from darse.images.content.store import ContentStore
from darse.images.events import publish_image_event
from darse.images.gc.collector import GarbageCollector
from darse.images.model import History, Image, ImageConfig, RootFS
from darse.images.references import Reference
from darse.images.store import ImageStore
from darse.images.writer import ImageDocuments, ImageWriter
from darse.wire.containers import ContainerConfig

if TYPE_CHECKING:
    from darse.images.archive.load import ImageLoader

LABEL: Final = "org.darse.builtin"
PREFIX: Final = "docker.io/builtin/"
NAMES: Final = frozenset({"hello-world", "busybox"})
_BUSYBOX = Path("/bin/busybox")
_CREATED = "2026-01-01T00:00:00Z"
_CREATED_UNIX = 1767225600
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_HELLO = """
Hello from darse!
This message shows that your installation works.

To print it, darse took these steps:
 1. The command asked the engine, over its socket, for the image "builtin/hello-world".
 2. The engine assembled that image from the busybox of your Debian packages.
 3. It made a container of it: namespaces, a control group, an overlay file system, an address on the bridge.
 4. It ran the program in there that printed this, and passed its output on to your terminal.
"""

_ACCOUNTS = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = """root:x:0:
daemon:x:1:
tty:x:5:
www-data:x:33:
users:x:100:
nogroup:x:65534:
"""


class BuiltinImages:
    """Finds images, and assembles the built-in ones."""

    def __init__(
        self,
        images: ImageStore,
        content: ContentStore,
        writer: ImageWriter,
        loader: Callable[[], ImageLoader],
        gc: GarbageCollector,
        events: EventLog,
    ) -> None:
        self._images = images
        self._content = content
        self._writer = writer
        self._loader = loader
        self._gc = gc
        self._events = events
        self._assembling = asyncio.Lock()

    async def ensure_image(self, reference: str, platform: Platform | None = None) -> Image:
        """Return an image; a built-in one is assembled first. Raises NotFound, and Unavailable without busybox."""
        try:
            return self._images.find(reference, platform).image
        except NotFound:
            name = references.parse(reference)
            short = name.name.removeprefix(PREFIX)
            if name.name == short or short not in NAMES or name.tag != "latest" or name.digest:
                raise
            if self._images.named(name) is not None:
                raise  # it is here, but not for that platform
        async with self._assembling:
            if self._images.named(name) is None:
                await self._assemble(short, name)
        return self._images.find(reference, platform).image

    async def _assemble(self, short: str, name: Reference) -> None:
        archive, config = await executors.storage.run(assemble, short)
        async with self._gc.lease() as lease:
            blob = await self._loader().unpack_base_layer(archive, lease)
            config = msgspec.structs.replace(config, rootfs=RootFS("layers", [blob.digest]))
            documents = ImageDocuments.of_layers(msgspec.json.encode(config), [blob])
            prepared = await self._writer.prepare(documents)
            async with self._content.stored(documents.contents):
                with self._images.changing():
                    image, _ = self._writer.record(prepared, names=[name])
                    publish_image_event(self._events, "tag", image, name.familiar)


def assemble(name: str) -> tuple[bytes, ImageConfig]:
    """Return the layer archive and the config (without its diff ID) of built-in image `name`.

    Raises Unavailable when busybox is not installed.
    """
    try:
        program = _BUSYBOX.read_bytes()
    except FileNotFoundError:
        raise Unavailable(
            f"builtin/{name} is assembled from {_BUSYBOX}, which is missing: install the package busybox-static"
        ) from None
    config = ContainerConfig(Env=[_PATH], Cmd=["sh"], Labels={LABEL: "true"})
    layer = _Layer()
    layer.file("bin/busybox", program, 0o755)
    if name == "hello-world":
        layer.file("hello", _HELLO.encode())
        config.Cmd = ["/bin/busybox", "cat", "/hello"]
    else:
        _user_land(layer)
    return layer.content(), ImageConfig(
        created=_CREATED,
        author="darse",
        architecture=platforms.host().architecture,
        os="linux",
        config=config,
        rootfs=RootFS(),
        history=[History(created=_CREATED, created_by=f"darse assembled builtin/{name} from {_BUSYBOX}")],
    )


def _user_land(layer: _Layer) -> None:
    for directory in ("dev", "etc", "home", "proc", "run", "sys", "usr", "usr/bin", "usr/sbin", "var", "var/www"):
        layer.directory(directory)
    layer.directory("root", 0o700)
    layer.directory("tmp", 0o1777)
    layer.directory("var/tmp", 0o1777)
    layer.file("etc/passwd", _ACCOUNTS.encode())
    layer.file("etc/group", _GROUP.encode())
    layer.file("etc/shadow", b"root:*:::::::\n", 0o640)
    layer.file("etc/nsswitch.conf", b"hosts: files dns\n")
    layer.link("var/run", "../run")
    layer.link("etc/mtab", "/proc/mounts")
    applets = subprocess.run([_BUSYBOX, "--list-full"], check=True, capture_output=True, text=True, timeout=10)
    for path in sorted(set(applets.stdout.split())):
        if path != "bin/busybox":
            layer.link(path, "/bin/busybox")


class _Layer:
    """A tar archive with fixed times and owners."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._directories: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        self._parents(path)
        self._directories.add(path)
        self._add(path + "/", DIRECTORY, mode)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self._parents(path)
        self._add(path, REGULAR, mode, content)

    def link(self, path: str, target: str) -> None:
        self._parents(path)
        self._add(path, SYMLINK, 0o777, target=target)

    def content(self) -> bytes:
        return b"".join(self._entries) + END

    def _parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent and parent not in self._directories:
            self.directory(parent)

    def _add(self, path: str, kind: bytes, mode: int, content: bytes = b"", target: str = "") -> None:
        self._entries += [
            entry_headers(
                path.encode(), kind, mode=mode, size=len(content), seconds=_CREATED_UNIX, link=target.encode()
            ),
            padded(content),
        ]
