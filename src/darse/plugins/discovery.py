"""Where a plugin listens: sockets in the run folder, and files in the etc and lib folders (moby's pkg/plugins).

NAME.sock, NAME/NAME.sock    the socket itself
NAME.spec                    one line: unix:///path or tcp://host:port
NAME.json                    {"Name": …, "Addr": …, "TLSConfig": {"CAFile": …, "CertFile": …, "KeyFile": …}}
"""

from __future__ import annotations

import re
import ssl
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from darse.core.errors import InvalidParameter

SOCKETS = Path("/run/docker/plugins")
FOLDERS = (Path("/etc/docker/plugins"), Path("/usr/lib/docker/plugins"))
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*(:[a-zA-Z0-9_.-]+)?\Z")


class PluginTLS(msgspec.Struct, frozen=True):
    """Certificates for a plugin that listens on tcp."""

    InsecureSkipVerify: bool = False
    CAFile: str = ""
    CertFile: str = ""
    KeyFile: str = ""


class _SpecFile(msgspec.Struct, frozen=True):
    Name: str = ""
    Addr: str = ""
    TLSConfig: PluginTLS | None = None


class PluginAddress(NamedTuple):
    """Where a plugin listens: the path of a socket, or a URL."""

    socket: str = ""
    url: str = ""
    tls: PluginTLS | None = None

    def context(self) -> ssl.SSLContext | None:
        """What secures the connection. Raises OSError and ValueError for certificates that cannot be read."""
        if self.tls is None:
            return None
        context = ssl.create_default_context(cafile=self.tls.CAFile or None)
        if self.tls.InsecureSkipVerify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.tls.CertFile:
            context.load_cert_chain(self.tls.CertFile, self.tls.KeyFile or None)
        return context


def find_plugin(
    name: str, sockets: Iterable[Path] = (SOCKETS,), folders: Iterable[Path] = FOLDERS
) -> PluginAddress | None:
    """Find a plugin by its name; None when there is none. Raises InvalidParameter for a file that cannot be read."""
    if _NAME.match(name) is None:
        return None
    name = name.removesuffix(":latest")
    for folder in sockets:
        for path in (folder / f"{name}.sock", folder / name / f"{name}.sock"):
            if _is_socket(path):
                return PluginAddress(socket=str(path))
    for folder in folders:
        for path in (folder / f"{name}.spec", folder / name / f"{name}.spec"):
            if path.is_file():
                return _address(path.read_text(encoding="utf-8", errors="replace").strip(), path)
        for path in (folder / f"{name}.json", folder / name / f"{name}.json"):
            if path.is_file():
                return _from_json(path)
    return None


def plugin_names(sockets: Iterable[Path] = (SOCKETS,), folders: Iterable[Path] = FOLDERS) -> set[str]:
    """The names by which `find_plugin` finds a plugin; a folder that cannot be read has none."""
    found = set()
    for places, suffixes, is_one in ((sockets, (".sock",), _is_socket), (folders, (".spec", ".json"), Path.is_file)):
        for place in places:
            for path in _entries(place):
                if path.suffix in suffixes and is_one(path):
                    found.add(path.stem)
                elif any(is_one(path / f"{path.name}{suffix}") for suffix in suffixes):
                    found.add(path.name)
    return {name for name in found if _NAME.match(name) is not None}


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _from_json(path: Path) -> PluginAddress:
    try:
        spec = msgspec.json.decode(path.read_bytes(), type=_SpecFile)
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"the plugin's file {path} cannot be read: {error}") from error
    return _address(spec.Addr, path)._replace(tls=spec.TLSConfig)


def _address(text: str, path: Path) -> PluginAddress:
    scheme, separator, rest = text.partition("://")
    if not separator or not rest or scheme not in ("unix", "tcp", "http", "https"):
        raise InvalidParameter(f"the plugin's file {path} names no address: {text!r} is not unix:// or tcp://")
    if scheme == "unix":
        return PluginAddress(socket=rest)
    return PluginAddress(url=rest.rstrip("/"))
