"""Crashes in operations on volumes and networks."""

from __future__ import annotations

import http.client

from tests.faults.crashes.means import COUNTER, Means


class ResourceCrashes(Means):
    """What was acknowledged is there; the rest is whole or not there."""

    def volume(self) -> None:
        """Create a volume, or remove it."""
        name = self.unused_name()
        attempt = self.cut("volume", 0.01, "POST", "/volumes/create", {"Name": name})
        found = self.engine.api("GET", f"/volumes/{name}").status
        assert found in ((200,) if attempt.acknowledged else (200, 404))
        self.ok("POST", "/volumes/create", {"Name": name})
        self.ok("DELETE", f"/volumes/{name}")

    def network(self) -> None:
        """Create a network, with its bridge and rules."""
        name = self.unused_name()
        attempt = self.cut("network", 0.02, "POST", "/networks/create", {"Name": name})
        found = self.engine.api("GET", f"/networks/{name}").status
        assert found in ((200,) if attempt.acknowledged else (200, 404))
        if found == http.client.NOT_FOUND:
            self.ok("POST", "/networks/create", {"Name": name})
        container = self.created(COUNTER, NetworkMode=name)
        self.ok("POST", f"/containers/{container}/start")
        self.counted(container)
        self.ok("DELETE", f"/containers/{container}")
        self.ok("DELETE", f"/networks/{name}")

    def remove_volume(self) -> None:
        """Remove a volume with a file: it is there with its file, or it is gone."""
        name = self._volume_with_file()
        attempt = self.cut("volume rm", 0.006, "DELETE", f"/volumes/{name}")
        found = self.engine.api("GET", f"/volumes/{name}").status
        assert found in ((404,) if attempt.acknowledged else (200, 404))
        if found == http.client.OK:
            self._file_is_whole(name)
            self.ok("DELETE", f"/volumes/{name}")

    def remove_empty_volume(self) -> None:
        """Remove a volume without a file: its row and its directory are both there, or both gone."""
        name = self.unused_name()
        self.ok("POST", "/volumes/create", {"Name": name, "Labels": {"a": "b"}})
        attempt = self.cut("volume rm, empty", 0.006, "DELETE", f"/volumes/{name}")
        found = self.engine.api("GET", f"/volumes/{name}")
        place = self.engine.data_root / "volumes" / name
        assert found.status in ((404,) if attempt.acknowledged else (200, 404))
        if found.status == http.client.OK:
            assert found.json()["Labels"] == {"a": "b"}
            assert list(place.iterdir()) == [place / "_data"]
            self.ok("DELETE", f"/volumes/{name}")
        assert not place.exists()

    def prune_volumes(self) -> None:
        """Remove unused volumes; those of containers stay."""
        used, unused = self._volume_with_file(), self._volume_with_file()
        holder = self.created(COUNTER, Binds=[f"{used}:/data"])
        attempt = self.cut("volume prune", 0.02, "POST", '/volumes/prune?filters={"all":["true"]}')
        found = self.engine.api("GET", f"/volumes/{unused}").status
        assert found in ((404,) if attempt.acknowledged else (200, 404))
        self._file_is_whole(used)
        self.ok("DELETE", f"/containers/{holder}")
        self.ok("POST", '/volumes/prune?filters={"all":["true"]}')

    def remove_network(self) -> None:
        """Remove a network with its bridge and rules."""
        name = self.unused_name()
        self.ok("POST", "/networks/create", {"Name": name})
        attempt = self.cut("network rm", 0.1, "DELETE", f"/networks/{name}")
        found = self.engine.api("GET", f"/networks/{name}").status
        assert found in ((404,) if attempt.acknowledged else (200, 404))
        if found == http.client.OK:
            container = self.created(COUNTER, NetworkMode=name)
            self.ok("POST", f"/containers/{container}/start")
            self.counted(container)
            self.ok("DELETE", f"/containers/{container}")
            self.ok("DELETE", f"/networks/{name}")

    def connect(self) -> None:
        """Connect a running container to a network, or disconnect it; record and namespace agree."""
        network, container = self.unused_name(), self.steady()
        self.ok("POST", "/networks/create", {"Name": network})
        connected = False
        for action in ("connect", "disconnect"):
            attempt = self.cut(
                "network connect", 0.03, "POST", f"/networks/{network}/{action}", {"Container": container}
            )
            if attempt.acknowledged:
                connected = action == "connect"
                assert self._is_connected(container, network) == connected
            else:
                connected = self._is_connected(container, network)
            assert self._links_inside(container) == 2 + connected, (action, connected)
            if action == "connect" and not connected:
                break
        if connected:
            self.ok("POST", f"/networks/{network}/disconnect", {"Container": container})
        self.ok("DELETE", f"/containers/{container}?force=1")
        self.ok("DELETE", f"/networks/{network}")

    def _is_connected(self, container: str, network: str) -> bool:
        settings = self.ok("GET", f"/containers/{container}/json").json()["NetworkSettings"]
        return network in settings["Networks"]

    def _links_inside(self, container: str) -> int:
        """How many network interfaces the container has, its loopback among them."""
        pid = self.state(container)["Pid"]
        with open(f"/proc/{pid}/net/dev", encoding="utf-8") as devices:
            return len(devices.readlines()) - 2

    def _volume_with_file(self) -> str:
        name = self.unused_name()
        self.ok("POST", "/volumes/create", {"Name": name})
        writer = self.created("echo rows >/data/file", Binds=[f"{name}:/data"])
        self.ok("POST", f"/containers/{writer}/start")
        assert self.ok("POST", f"/containers/{writer}/wait").json()["StatusCode"] == 0
        self.ok("DELETE", f"/containers/{writer}")
        return name

    def _file_is_whole(self, volume: str) -> None:
        place = self.ok("GET", f"/volumes/{volume}").json()["Mountpoint"]
        with open(f"{place}/file", encoding="utf-8") as file:
            assert file.read() == "rows\n"
