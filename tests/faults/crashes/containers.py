"""Crashes in operations on containers."""

from __future__ import annotations

import http.client
import io
import tarfile

from tests.faults.crashes.means import COUNTER, STEADY, Means
from tests.support.engine import BUSYBOX
from tests.support.waiting import wait_until


class ContainerCrashes(Means):
    """What was acknowledged is there; exit codes are right, logs have no gap."""

    def create(self) -> None:
        """Create with a volume and a published port."""
        name = self.unused_name()
        body = self.body(COUNTER, Volumes={"/data": {}}, ExposedPorts={"80/tcp": {}})
        attempt = self.cut("create", 0.03, "POST", f"/containers/create?name={name}", body)
        self.usable(name, must_exist=attempt.acknowledged)

    def start(self) -> None:
        """Start a container with a published port."""
        name = self.created(COUNTER, PortBindings={"80/tcp": [{"HostPort": ""}]})
        attempt = self.cut("start", 0.06, "POST", f"/containers/{name}/start")
        state = self.state(name)
        if attempt.acknowledged:
            assert state["Status"] in ("running", "exited"), state
        if state["Status"] == "created":
            self.ok("POST", f"/containers/{name}/start")
        self.counted(name)

    def running(self) -> None:
        """Nothing but a running container."""
        name = self.created(COUNTER)
        self.ok("POST", f"/containers/{name}/start")
        self.cut("running", 0.06, "GET", f"/containers/{name}/logs?follow=1&stdout=1")
        self.counted(name)

    def exec(self) -> None:
        """An exec with its streams attached."""
        name = self.steady()
        made = self.ok("POST", f"/containers/{name}/exec", {"Cmd": ["sh", "-c", "echo x"], "AttachStdout": True})
        self.cut("exec", 0.04, "POST", f"/exec/{made.json()['Id']}/start", {"Detach": False, "Tty": False})
        assert self.state(name)["Running"], self.state(name)
        again = self.ok("POST", f"/containers/{name}/exec", {"Cmd": ["sh", "-c", "exit 4"]}).json()["Id"]
        self.ok("POST", f"/exec/{again}/start", {"Detach": True})
        wait_until(lambda: self.engine.api("GET", f"/exec/{again}/json").json()["ExitCode"] == 4, what="the exec's end")

    def stop(self) -> None:
        """Stop a container that ends with 5 when asked to."""
        name = self.steady()
        attempt = self.cut("stop", 0.08, "POST", f"/containers/{name}/stop?t=5")
        if attempt.acknowledged:
            assert not self.state(name)["Running"]
        self.ok("POST", f"/containers/{name}/stop?t=5")
        assert self.state(name)["ExitCode"] == 5, self.state(name)

    def remove(self) -> None:
        """Remove an ended container, its anonymous volume too."""
        name = self.created(COUNTER, Volumes={"/data": {}})
        self.ok("POST", f"/containers/{name}/start")
        self.ok("POST", f"/containers/{name}/wait")
        self.removed(self.cut("rm", 0.02, "DELETE", f"/containers/{name}?v=1"), name)

    def remove_running(self) -> None:
        """Remove a running container by force."""
        name = self.steady(PortBindings={"80/tcp": [{"HostPort": ""}]})
        self.removed(self.cut("rm -f", 0.06, "DELETE", f"/containers/{name}?force=1&v=1"), name)

    def run(self) -> None:
        """docker's `run --rm` from its beginning to its end: whatever was reached, nothing of it stays."""
        name = self.unused_name()
        client = self.engine.docker.popen("run", "--rm", "--name", name, BUSYBOX, "sleep", "0.05")
        self.crash("run", 0.15)
        client.communicate(timeout=20)

        def gone() -> bool:
            found = self.engine.api("GET", f"/containers/{name}/json")
            # A container that was created and never started waits for its owner, as with docker.
            return found.status == http.client.NOT_FOUND or found.json()["State"]["Status"] == "created"

        wait_until(gone, what="the removal of a container of run --rm")
        self.engine.api("DELETE", f"/containers/{name}?force=1")

    def copy(self) -> None:
        """A copy into a container, or out of one, running or not."""
        name = self.steady() if self.random.random() < 0.5 else self.created(STEADY)
        if self.random.random() < 0.5:
            attempt = self.cut(
                "cp", 0.06, "PUT", f"/containers/{name}/archive?path=/tmp", _archive(b"copied" * 200_000)
            )
            if attempt.acknowledged:
                self.ok("GET", f"/containers/{name}/archive?path=/tmp/copied")
        else:
            self.cut("cp", 0.06, "GET", f"/containers/{name}/export")
        self.ok("PUT", f"/containers/{name}/archive?path=/tmp", _archive(b"again"))
        self.ok("DELETE", f"/containers/{name}?force=1&v=1")

    def commit(self) -> None:
        """A commit of a running container."""
        name = self.steady()
        self.ok("PUT", f"/containers/{name}/archive?path=/", _archive(b"changed" * 200_000))
        attempt = self.cut("commit", 0.5, "POST", f"/commit?container={name}&repo=test/{name}")
        found = self.engine.api("GET", f"/images/test/{name}/json")
        assert found.status in ((200,) if attempt.acknowledged else (200, 404)), found
        if found.status == http.client.NOT_FOUND:
            self.ok("POST", f"/commit?container={name}&repo=test/{name}")
        # It does not stand still any more.
        self.ok("POST", f"/containers/{name}/stop?t=5")
        assert self.state(name)["ExitCode"] == 5, self.state(name)
        made = self.created("wc -c < /copied", Image=f"test/{name}")
        self.ok("POST", f"/containers/{made}/start")
        assert self.ok("POST", f"/containers/{made}/wait").json()["StatusCode"] == 0
        for one in (name, made):
            self.ok("DELETE", f"/containers/{one}?force=1&v=1")
        self.ok("DELETE", f"/images/test/{name}")

    def kill(self) -> None:
        """Kill a container by SIGKILL."""
        name = self.steady()
        attempt = self.cut("kill", 0.012, "POST", f"/containers/{name}/kill")
        if attempt.acknowledged:
            self.ok("POST", f"/containers/{name}/wait")
        elif self.state(name)["Running"]:
            self.ok("POST", f"/containers/{name}/kill")
            self.ok("POST", f"/containers/{name}/wait")
        assert self.state(name)["ExitCode"] == 137, self.state(name)

    def restart(self) -> None:
        """Restart a container: it was ended by the signal that it knows, and runs again or can be started."""
        name = self.steady()
        before = self.state(name)["Pid"]
        attempt = self.cut("restart", 0.12, "POST", f"/containers/{name}/restart?t=5")
        state = self.state(name)
        if attempt.acknowledged:
            assert state["Running"], state
            assert state["Pid"] != before, state
        if not state["Running"]:
            assert state["ExitCode"] == 5, state
            self.ok("POST", f"/containers/{name}/start")
        self.ok("DELETE", f"/containers/{name}?force=1")

    def pause(self) -> None:
        """Pause a container, or let it go on; what the engine says of it is what its control group says."""
        name = self.steady()
        attempt = self.cut("pause", 0.006, "POST", f"/containers/{name}/pause")
        if attempt.acknowledged:
            assert self.state(name)["Paused"], self.state(name)
        if self.state(name)["Paused"]:
            attempt = self.cut("pause", 0.006, "POST", f"/containers/{name}/unpause")
            if self.state(name)["Paused"]:
                assert not attempt.acknowledged
                self.ok("POST", f"/containers/{name}/unpause")
        # It does not stand still any more.
        self.ok("POST", f"/containers/{name}/stop?t=5")
        assert self.state(name)["ExitCode"] == 5, self.state(name)

    def rename(self) -> None:
        """Rename a container: it has one of the two names, and keeps it."""
        name, other = self.created(COUNTER), f"other-{self.unused_name()}"
        attempt = self.cut("rename", 0.004, "POST", f"/containers/{name}/rename?name={other}")
        found = {one: self.engine.api("GET", f"/containers/{one}/json").status for one in (name, other)}
        assert sorted(found.values()) == [200, 404], found
        assert not attempt.acknowledged or found[other] == http.client.OK, found
        self.ok("DELETE", f"/containers/{name if found[name] == http.client.OK else other}")

    def update(self) -> None:
        """Change a limit of a running container: record and kernel agree after the next change."""
        name = self.steady()
        limit = {"Memory": 64 << 20, "MemorySwap": -1}
        attempt = self.cut("update", 0.006, "POST", f"/containers/{name}/update", limit)
        found = self.ok("GET", f"/containers/{name}/json").json()["HostConfig"]["Memory"]
        assert found in ((64 << 20,) if attempt.acknowledged else (0, 64 << 20)), found
        self.ok("POST", f"/containers/{name}/update", {"Memory": 32 << 20, "MemorySwap": -1})
        assert self.ok("GET", f"/containers/{name}/json").json()["HostConfig"]["Memory"] == 32 << 20
        self.ok("DELETE", f"/containers/{name}?force=1")

    def restart_policy(self) -> None:
        """A container that its policy starts again: it goes on after every crash, and ends when it is stopped."""
        name = self.created("sleep 0.05; exit 3", RestartPolicy={"Name": "always"})
        self.ok("POST", f"/containers/{name}/start")
        self.cut("restart policy", 0.3, "GET", f"/containers/{name}/logs?follow=1&stdout=1")
        count = self.ok("GET", f"/containers/{name}/json").json()["RestartCount"]
        wait_until(
            lambda: self.ok("GET", f"/containers/{name}/json").json()["RestartCount"] != count, 20, "another restart"
        )
        self.ok("POST", f"/containers/{name}/stop?t=5")
        assert self.state(name)["Status"] == "exited", self.state(name)

    def prune_containers(self) -> None:
        """Remove all ended containers; those that run stay."""
        names = [self.created(COUNTER, Volumes={"/data": {}}) for _ in range(3)]
        running = self.steady()
        attempt = self.cut("container prune", 0.03, "POST", "/containers/prune")
        found = [self.engine.api("GET", f"/containers/{name}/json").status for name in names]
        assert set(found) <= ({404} if attempt.acknowledged else {200, 404}), found
        assert self.state(running)["Running"]
        self.ok("POST", "/containers/prune")
        self.ok("POST", '/volumes/prune?filters={"all":["true"]}')


def _archive(content: bytes) -> bytes:
    """An archive with one file, `copied`."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("copied")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return made.getvalue()
