"""Every command by its path: where it is implemented, and a line about it. Nothing is imported here.

A command's module has a table `COMMANDS` from paths to (Command, function); the function takes an Invocation.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from darse.cli.command_line.flags import Command


class Entry:
    """Where a command is."""

    __slots__ = ("hidden", "module", "summary")

    def __init__(self, module: str, summary: str, hidden: bool = False) -> None:
        self.module = module
        self.summary = summary
        self.hidden = hidden

    def load(self, path: str) -> tuple[Command, Callable[[Any], int | None]]:
        """Import the command; return its flags and its function."""
        # Not importlib.import_module: the package importlib loads warnings, and more.
        __import__(self.module)
        command, function = sys.modules[self.module].COMMANDS[path]
        return command, function


_C = "darse.cli.commands.containers"
_I = "darse.cli.commands.images"
_R = "darse.cli.commands.registry"
_S = "darse.cli.commands.system"

COMMANDS = {
    "checkpoint create": Entry(f"{_C}.checkpoint", "Create a checkpoint from a running container"),
    "checkpoint ls": Entry(f"{_C}.checkpoint", "List checkpoints for a container"),
    "checkpoint rm": Entry(f"{_C}.checkpoint", "Remove a checkpoint"),
    "container attach": Entry(
        f"{_C}.attach", "Attach local standard input, output, and error streams to a running container"
    ),
    "container commit": Entry(f"{_C}.commit", "Create a new image from a container's changes"),
    "container cp": Entry(f"{_C}.cp", "Copy files/folders between a container and the local filesystem"),
    "container create": Entry(f"{_C}.run", "Create a new container"),
    "container diff": Entry(f"{_C}.diff", "Inspect changes to files or directories on a container's filesystem"),
    "container exec": Entry(f"{_C}.exec", "Execute a command in a running container"),
    "container export": Entry(f"{_C}.export", "Export a container's filesystem as a tar archive"),
    "container inspect": Entry(f"{_S}.inspect", "Display detailed information on one or more containers"),
    "container kill": Entry(f"{_C}.lifecycle", "Kill one or more running containers"),
    "container logs": Entry(f"{_C}.logs", "Fetch the logs of a container"),
    "container ls": Entry(f"{_C}.ls", "List containers"),
    "container pause": Entry(f"{_C}.lifecycle", "Pause all processes within one or more containers"),
    "container port": Entry(f"{_C}.port", "List port mappings or a specific mapping for the container"),
    "container prune": Entry(f"{_C}.prune", "Remove all stopped containers"),
    "container rename": Entry(f"{_C}.lifecycle", "Rename a container"),
    "container restart": Entry(f"{_C}.lifecycle", "Restart one or more containers"),
    "container rm": Entry(f"{_C}.lifecycle", "Remove one or more containers"),
    "container run": Entry(f"{_C}.run", "Create and run a new container from an image"),
    "container start": Entry(f"{_C}.start", "Start one or more stopped containers"),
    "container stats": Entry(f"{_C}.stats", "Display a live stream of container(s) resource usage statistics"),
    "container stop": Entry(f"{_C}.lifecycle", "Stop one or more running containers"),
    "container top": Entry(f"{_C}.top", "Display the running processes of a container"),
    "container unpause": Entry(f"{_C}.lifecycle", "Unpause all processes within one or more containers"),
    "container update": Entry(f"{_C}.update", "Update configuration of one or more containers"),
    "container wait": Entry(f"{_C}.lifecycle", "Block until one or more containers stop, then print their exit codes"),
    "context create": Entry("darse.cli.commands.contexts", "Create a context"),
    "context export": Entry(
        "darse.cli.commands.contexts", "Export a context to a tar archive FILE or a tar stream on STDOUT."
    ),
    "context import": Entry("darse.cli.commands.contexts", "Import a context from a tar or zip file"),
    "context inspect": Entry("darse.cli.commands.contexts", "Display detailed information on one or more contexts"),
    "context ls": Entry("darse.cli.commands.contexts", "List contexts"),
    "context rm": Entry("darse.cli.commands.contexts", "Remove one or more contexts"),
    "context show": Entry("darse.cli.commands.contexts", "Print the name of the current context"),
    "context update": Entry("darse.cli.commands.contexts", "Update a context"),
    "context use": Entry("darse.cli.commands.contexts", "Set the current context"),
    "image history": Entry(f"{_I}.history", "Show the history of an image"),
    "image import": Entry(f"{_I}.transfer", "Import the contents from a tarball to create a filesystem image"),
    "image inspect": Entry(f"{_S}.inspect", "Display detailed information on one or more images"),
    "image load": Entry(f"{_I}.transfer", "Load an image from a tar archive or STDIN"),
    "image ls": Entry(f"{_I}.ls", "List images"),
    "image prune": Entry(f"{_I}.change", "Remove unused images"),
    "image pull": Entry(f"{_I}.pull", "Download an image from a registry"),
    "image push": Entry(f"{_I}.pull", "Upload an image to a registry"),
    "image rm": Entry(f"{_I}.change", "Remove one or more images"),
    "image save": Entry(f"{_I}.transfer", "Save one or more images to a tar archive"),
    "image tag": Entry(f"{_I}.change", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "manifest annotate": Entry(f"{_R}.manifest", "Add additional information to a local image manifest"),
    "manifest create": Entry(f"{_R}.manifest", "Create a local manifest list for annotating and pushing to a registry"),
    "manifest inspect": Entry(f"{_R}.manifest", "Display an image manifest, or manifest list"),
    "manifest push": Entry(f"{_R}.manifest", "Push a manifest list to a repository"),
    "manifest rm": Entry(f"{_R}.manifest", "Delete one or more manifest lists from local storage"),
    "network connect": Entry("darse.cli.commands.networks", "Connect a container to a network"),
    "network create": Entry("darse.cli.commands.networks", "Create a network"),
    "network disconnect": Entry("darse.cli.commands.networks", "Disconnect a container from a network"),
    "network graph": Entry(
        "darse.cli.commands.networks", "Show which container is on which network, with addresses and published ports"
    ),
    "network inspect": Entry(f"{_S}.inspect", "Display detailed information on one or more networks"),
    "network ls": Entry("darse.cli.commands.networks", "List networks"),
    "network prune": Entry("darse.cli.commands.networks", "Remove all unused networks"),
    "network rm": Entry("darse.cli.commands.networks", "Remove one or more networks"),
    "volume create": Entry("darse.cli.commands.volumes", "Create a volume"),
    "volume inspect": Entry(f"{_S}.inspect", "Display detailed information on one or more volumes"),
    "volume ls": Entry("darse.cli.commands.volumes", "List volumes"),
    "volume prune": Entry("darse.cli.commands.volumes", "Remove unused local volumes"),
    "volume rm": Entry("darse.cli.commands.volumes", "Remove one or more volumes"),
    "system check": Entry(f"{_S}.check", "Check that the engine's records, images and layers are whole"),
    "system df": Entry(f"{_S}.df", "Show disk usage"),
    "system dial-stdio": Entry(f"{_S}.dial_stdio", "Proxy the stdio stream to the engine", hidden=True),
    "system events": Entry(f"{_S}.events", "Get real time events from the engine"),
    "system info": Entry(f"{_S}.info", "Display system-wide information"),
    "system restart": Entry(f"{_S}.restart", "Restart the engine of this machine; containers run on"),
    "system prune": Entry(f"{_S}.prune", "Remove unused data"),
    "login": Entry(f"{_R}.login", "Authenticate to a registry"),
    "logout": Entry(f"{_R}.login", "Log out from a registry"),
    "search": Entry(f"{_R}.search", "Search Docker Hub for images"),
    "inspect": Entry(f"{_S}.inspect", "Return low-level information on objects"),
    "version": Entry(f"{_S}.version", "Show the version information"),
    "explain": Entry(f"{_S}.explain", "Show what was done to a container, or by a pull, step by step"),
    "doctor": Entry(f"{_S}.doctor", "Check what this host has and lacks"),
    "completion": Entry(f"{_S}.completion", "Print a completion script for bash, zsh or fish"),
}

# What else a command is called; the first is how help shows it.
ALIASES = {
    "run": "container run",
    "exec": "container exec",
    "ps": "container ls",
    "pull": "image pull",
    "images": "image ls",
    "info": "system info",
    "attach": "container attach",
    "commit": "container commit",
    "cp": "container cp",
    "create": "container create",
    "diff": "container diff",
    "events": "system events",
    "export": "container export",
    "history": "image history",
    "import": "image import",
    "kill": "container kill",
    "load": "image load",
    "logs": "container logs",
    "pause": "container pause",
    "port": "container port",
    "push": "image push",
    "rename": "container rename",
    "restart": "container restart",
    "rm": "container rm",
    "rmi": "image rm",
    "save": "image save",
    "start": "container start",
    "stats": "container stats",
    "stop": "container stop",
    "tag": "image tag",
    "top": "container top",
    "unpause": "container unpause",
    "update": "container update",
    "wait": "container wait",
    "checkpoint list": "checkpoint ls",
    "checkpoint remove": "checkpoint rm",
    "container list": "container ls",
    "container ps": "container ls",
    "container remove": "container rm",
    "context list": "context ls",
    "context remove": "context rm",
    "image list": "image ls",
    "image remove": "image rm",
    "network list": "network ls",
    "network remove": "network rm",
    "volume list": "volume ls",
    "volume remove": "volume rm",
}

GROUPS = {
    "checkpoint": "Manage checkpoints",
    "container": "Manage containers",
    "context": "Manage contexts",
    "image": "Manage images",
    "manifest": "Manage image manifests and manifest lists",
    "network": "Manage networks",
    "system": "Manage the engine",
    "volume": "Manage volumes",
}

COMMON = ("run", "exec", "ps", "pull", "push", "images", "login", "logout", "search", "version", "info")


def resolve(words: list[str]) -> tuple[str, str, list[str]] | None:
    """Return the command that `words` begin with: the path as typed, the real path, and what follows."""
    for length in (2, 1):
        typed = " ".join(words[:length])
        if len(words) >= length and (typed in COMMANDS or typed in ALIASES):
            return typed, ALIASES.get(typed, typed), words[length:]
    return None


def aliases_of(path: str) -> list[str]:
    """The other names of a command."""
    return [alias for alias, target in ALIASES.items() if target == path]
