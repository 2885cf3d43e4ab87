"""Crashes in operations on images."""

from __future__ import annotations

import gzip
import http.client

from tests.faults.crashes.means import Means


class ImageCrashes(Means):
    """After each, `system check` finds nothing."""

    def load(self) -> None:
        """Load an image."""
        self.engine.api("DELETE", "/images/test/loaded:1?force=1")
        attempt = self.cut("load", 0.5, "POST", "/images/load", self.archive)
        self.store_is_sound()
        found = self.engine.api("GET", "/images/test/loaded:1/json")
        assert found.status in ((200,) if attempt.acknowledged else (200, 404)), found
        if found.status == http.client.NOT_FOUND:
            self.ok("POST", "/images/load", self.archive)
        name = self.created("cat /loaded && exit 3", Image="test/loaded:1")
        self.ok("POST", f"/containers/{name}/start")
        assert self.ok("POST", f"/containers/{name}/wait").json()["StatusCode"] == 3
        self.ok("DELETE", f"/containers/{name}?force=1&v=1")

    def remove_image(self) -> None:
        """Remove an image with its layers."""
        self.ok("POST", "/images/load", self.archive)
        attempt = self.cut("rmi", 0.15, "DELETE", "/images/test/loaded:1")
        self.store_is_sound()
        found = self.engine.api("GET", "/images/test/loaded:1/json")
        assert found.status in ((404,) if attempt.acknowledged else (200, 404)), found

    def prune_images(self) -> None:
        """Prune images that have no name."""
        for number in range(3):
            self.ok("POST", f"/images/create?fromSrc=-&message={number}", gzip.decompress(self.archive))
        attempt = self.cut("image prune", 0.2, "POST", "/images/prune")
        self.store_is_sound()
        left = self.ok("GET", '/images/json?filters={"dangling":["true"]}').json()
        assert not (attempt.acknowledged and left), left
        self.ok("POST", "/images/prune")
        self.store_is_sound()

    def save(self) -> None:
        """Write an image into an archive; the next archive is whole."""
        self.ok("POST", "/images/load", self.archive)
        self.cut("save", 0.1, "GET", "/images/test/loaded:1/get")
        self.store_is_sound()
        archive = self.ok("GET", "/images/test/loaded:1/get").body
        self.ok("DELETE", "/images/test/loaded:1")
        self.ok("POST", "/images/load", archive)
        self.ok("DELETE", "/images/test/loaded:1")

    def import_archive(self) -> None:
        """Make an image of a file system's archive."""
        layer = gzip.decompress(self.archive)
        attempt = self.cut("import", 0.15, "POST", "/images/create?fromSrc=-&repo=test/imported&tag=1", layer)
        self.store_is_sound()
        found = self.engine.api("GET", "/images/test/imported:1/json")
        assert found.status in ((200,) if attempt.acknowledged else (200, 404)), found
        self.ok("POST", "/images/create?fromSrc=-&repo=test/imported&tag=1", layer)
        self.ok("DELETE", "/images/test/imported:1")
        self.ok("POST", "/images/prune")

    def tag(self) -> None:
        """Give an image another name."""
        self.ok("POST", "/images/load", self.archive)
        name = self.unused_name()
        attempt = self.cut("tag", 0.004, "POST", f"/images/test/loaded:1/tag?repo={name}&tag=2")
        found = self.engine.api("GET", f"/images/{name}:2/json")
        assert found.status in ((200,) if attempt.acknowledged else (200, 404)), found
        self.ok("DELETE", "/images/test/loaded:1")
        self.engine.api("DELETE", f"/images/{name}:2")
        self.store_is_sound()
