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


class IndexEntry:
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
_B = "darse.cli.commands.build"
_COMPOSE = "darse.cli.commands.compose"

COMMANDS = {
    "builder build": IndexEntry(f"{_B}.build", "Build an image from a Dockerfile"),
    "builder history": IndexEntry(f"{_B}.history", "List builds, or show what the steps of one took and said"),
    "builder du": IndexEntry(f"{_B}.cache", "Show what the build cache has"),
    "builder prune": IndexEntry(f"{_B}.cache", "Remove build cache"),
    "checkpoint create": IndexEntry(f"{_C}.checkpoint", "Create a checkpoint from a running container"),
    "checkpoint ls": IndexEntry(f"{_C}.checkpoint", "List checkpoints for a container"),
    "checkpoint rm": IndexEntry(f"{_C}.checkpoint", "Remove a checkpoint"),
    "container attach": IndexEntry(
        f"{_C}.attach", "Attach local standard input, output, and error streams to a running container"
    ),
    "container commit": IndexEntry(f"{_C}.commit", "Create a new image from a container's changes"),
    "container cp": IndexEntry(f"{_C}.cp", "Copy files/folders between a container and the local filesystem"),
    "container create": IndexEntry(f"{_C}.run", "Create a new container"),
    "container diff": IndexEntry(f"{_C}.diff", "Inspect changes to files or directories on a container's filesystem"),
    "container exec": IndexEntry(f"{_C}.exec", "Execute a command in a running container"),
    "container export": IndexEntry(f"{_C}.export", "Export a container's filesystem as a tar archive"),
    "container inspect": IndexEntry(f"{_S}.inspect", "Display detailed information on one or more containers"),
    "container kill": IndexEntry(f"{_C}.lifecycle", "Kill one or more running containers"),
    "container logs": IndexEntry(f"{_C}.logs", "Fetch the logs of a container"),
    "container ls": IndexEntry(f"{_C}.ls", "List containers"),
    "container pause": IndexEntry(f"{_C}.lifecycle", "Pause all processes within one or more containers"),
    "container port": IndexEntry(f"{_C}.port", "List port mappings or a specific mapping for the container"),
    "container prune": IndexEntry(f"{_C}.prune", "Remove all stopped containers"),
    "container rename": IndexEntry(f"{_C}.lifecycle", "Rename a container"),
    "container restart": IndexEntry(f"{_C}.lifecycle", "Restart one or more containers"),
    "container rm": IndexEntry(f"{_C}.lifecycle", "Remove one or more containers"),
    "container run": IndexEntry(f"{_C}.run", "Create and run a new container from an image"),
    "container start": IndexEntry(f"{_C}.start", "Start one or more stopped containers"),
    "container stats": IndexEntry(f"{_C}.stats", "Display a live stream of container(s) resource usage statistics"),
    "container stop": IndexEntry(f"{_C}.lifecycle", "Stop one or more running containers"),
    "container top": IndexEntry(f"{_C}.top", "Display the running processes of a container"),
    "container unpause": IndexEntry(f"{_C}.lifecycle", "Unpause all processes within one or more containers"),
    "container update": IndexEntry(f"{_C}.update", "Update configuration of one or more containers"),
    "container wait": IndexEntry(
        f"{_C}.lifecycle", "Block until one or more containers stop, then print their exit codes"
    ),
    "context create": IndexEntry("darse.cli.commands.contexts", "Create a context"),
    "context export": IndexEntry(
        "darse.cli.commands.contexts", "Export a context to a tar archive FILE or a tar stream on STDOUT."
    ),
    "context import": IndexEntry("darse.cli.commands.contexts", "Import a context from a tar or zip file"),
    "context inspect": IndexEntry(
        "darse.cli.commands.contexts", "Display detailed information on one or more contexts"
    ),
    "context ls": IndexEntry("darse.cli.commands.contexts", "List contexts"),
    "context rm": IndexEntry("darse.cli.commands.contexts", "Remove one or more contexts"),
    "context show": IndexEntry("darse.cli.commands.contexts", "Print the name of the current context"),
    "context update": IndexEntry("darse.cli.commands.contexts", "Update a context"),
    "context use": IndexEntry("darse.cli.commands.contexts", "Set the current context"),
    "image build": IndexEntry(f"{_B}.build", "Build an image from a Dockerfile"),
    "image history": IndexEntry(f"{_I}.history", "Show the history of an image"),
    "image import": IndexEntry(f"{_I}.transfer", "Import the contents from a tarball to create a filesystem image"),
    "image inspect": IndexEntry(f"{_S}.inspect", "Display detailed information on one or more images"),
    "image load": IndexEntry(f"{_I}.transfer", "Load an image from a tar archive or STDIN"),
    "image ls": IndexEntry(f"{_I}.ls", "List images"),
    "image prune": IndexEntry(f"{_I}.change", "Remove unused images"),
    "image pull": IndexEntry(f"{_I}.pull", "Download an image from a registry"),
    "image push": IndexEntry(f"{_I}.pull", "Upload an image to a registry"),
    "image rm": IndexEntry(f"{_I}.change", "Remove one or more images"),
    "image save": IndexEntry(f"{_I}.transfer", "Save one or more images to a tar archive"),
    "image tag": IndexEntry(f"{_I}.change", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "manifest annotate": IndexEntry(f"{_R}.manifest", "Add additional information to a local image manifest"),
    "manifest create": IndexEntry(
        f"{_R}.manifest", "Create a local manifest list for annotating and pushing to a registry"
    ),
    "manifest inspect": IndexEntry(f"{_R}.manifest", "Display an image manifest, or manifest list"),
    "manifest push": IndexEntry(f"{_R}.manifest", "Push a manifest list to a repository"),
    "manifest rm": IndexEntry(f"{_R}.manifest", "Delete one or more manifest lists from local storage"),
    "network connect": IndexEntry("darse.cli.commands.networks", "Connect a container to a network"),
    "network create": IndexEntry("darse.cli.commands.networks", "Create a network"),
    "network disconnect": IndexEntry("darse.cli.commands.networks", "Disconnect a container from a network"),
    "network graph": IndexEntry(
        "darse.cli.commands.networks", "Show which container is on which network, with addresses and published ports"
    ),
    "network inspect": IndexEntry(f"{_S}.inspect", "Display detailed information on one or more networks"),
    "network ls": IndexEntry("darse.cli.commands.networks", "List networks"),
    "network prune": IndexEntry("darse.cli.commands.networks", "Remove all unused networks"),
    "network rm": IndexEntry("darse.cli.commands.networks", "Remove one or more networks"),
    "plugin create": IndexEntry(
        "darse.cli.commands.plugins",
        "Create a plugin from a rootfs and configuration. Plugin data directory must contain config.json and rootfs "
        "directory.",
    ),
    "plugin disable": IndexEntry("darse.cli.commands.plugins", "Disable a plugin"),
    "plugin enable": IndexEntry("darse.cli.commands.plugins", "Enable a plugin"),
    "plugin inspect": IndexEntry("darse.cli.commands.plugins", "Display detailed information on one or more plugins"),
    "plugin install": IndexEntry("darse.cli.commands.plugins", "Install a plugin"),
    "plugin ls": IndexEntry("darse.cli.commands.plugins", "List plugins"),
    "plugin push": IndexEntry("darse.cli.commands.plugins", "Push a plugin to a registry"),
    "plugin rm": IndexEntry("darse.cli.commands.plugins", "Remove one or more plugins"),
    "plugin set": IndexEntry("darse.cli.commands.plugins", "Change settings for a plugin"),
    "plugin upgrade": IndexEntry("darse.cli.commands.plugins", "Upgrade an existing plugin"),
    "volume clone": IndexEntry("darse.cli.commands.volumes", "Make another volume with the files of one"),
    "volume create": IndexEntry("darse.cli.commands.volumes", "Create a volume"),
    "volume du": IndexEntry("darse.cli.commands.volumes", "Show what in a volume takes the room"),
    "volume export": IndexEntry(
        "darse.cli.commands.volumes", "Write the files of a volume as a tar archive (streamed to STDOUT by default)"
    ),
    "volume graph": IndexEntry("darse.cli.commands.volumes", "Show which container mounts which volume, and where"),
    "volume import": IndexEntry("darse.cli.commands.volumes", "Make a volume of a tar archive"),
    "volume inspect": IndexEntry(f"{_S}.inspect", "Display detailed information on one or more volumes"),
    "volume ls": IndexEntry("darse.cli.commands.volumes", "List volumes"),
    "volume prune": IndexEntry("darse.cli.commands.volumes", "Remove unused local volumes"),
    "volume restore": IndexEntry("darse.cli.commands.volumes", "Replace the files of a volume by those of a snapshot"),
    "volume rm": IndexEntry("darse.cli.commands.volumes", "Remove one or more volumes"),
    "volume snapshot": IndexEntry("darse.cli.commands.volumes", "Keep the files of a volume as they are now"),
    "system check": IndexEntry(f"{_S}.check", "Check that the engine's records, images and layers are whole"),
    "system disable": IndexEntry(f"{_S}.service", "Undo 'system enable'; containers run on"),
    "system enable": IndexEntry(f"{_S}.service", "Have systemd start the engine at boot and for the first client"),
    "system takeover": IndexEntry(
        f"{_S}.service", "Take docker's place: its socket, its commands' names, and a context"
    ),
    "system backup": IndexEntry(f"{_S}.backup", "Write the engine's data into an archive, while no engine runs"),
    "system import-docker": IndexEntry(
        f"{_S}.import_docker", "Take over images, networks, volumes and containers of a dockerd that does not run"
    ),
    "system restore": IndexEntry(f"{_S}.backup", "Unpack the archive of 'system backup' where there is no data yet"),
    "system tls client": IndexEntry(f"{_S}.tls", "Make the certificate of one more client"),
    "system tls init": IndexEntry(
        f"{_S}.tls", "Make a certificate authority, and certificates of the engine and a client"
    ),
    "system df": IndexEntry(f"{_S}.df", "Show disk usage"),
    "system dial-stdio": IndexEntry(f"{_S}.dial_stdio", "Proxy the stdio stream to the engine", hidden=True),
    "system events": IndexEntry(f"{_S}.events", "Get real time events from the engine"),
    "system info": IndexEntry(f"{_S}.info", "Display system-wide information"),
    "system restart": IndexEntry(f"{_S}.restart", "Restart the engine of this machine; containers run on"),
    "system prune": IndexEntry(f"{_S}.prune", "Remove unused data"),
    "compose alpha dry-run": IndexEntry(f"{_COMPOSE}.more_tables", "Show what a command would do, and change nothing"),
    "compose alpha viz": IndexEntry(
        f"{_COMPOSE}.conversions.graphviz", "Generate a graphviz graph from your compose file"
    ),
    "compose bridge convert": IndexEntry(
        f"{_COMPOSE}.conversions.bridge", "Convert compose files to Kubernetes manifests, Helm charts, or another model"
    ),
    "compose bridge transformations create": IndexEntry(
        f"{_COMPOSE}.conversions.bridge", "Create a new transformation"
    ),
    "compose bridge transformations list": IndexEntry(
        f"{_COMPOSE}.conversions.bridge", "List available transformations"
    ),
    "compose attach": IndexEntry(
        f"{_COMPOSE}.more_tables",
        "Attach local standard input, output, and error streams to a service's running container",
    ),
    "compose commit": IndexEntry(f"{_COMPOSE}.more_tables", "Create a new image from a service container's changes"),
    "compose cp": IndexEntry(
        f"{_COMPOSE}.more_tables", "Copy files/folders between a service container and the local filesystem"
    ),
    "compose events": IndexEntry(f"{_COMPOSE}.more_tables", "Receive real time events from containers"),
    "compose export": IndexEntry(f"{_COMPOSE}.more_tables", "Export a service container's filesystem as a tar archive"),
    "compose publish": IndexEntry(f"{_COMPOSE}.more_tables", "Publish compose application"),
    "compose push": IndexEntry(f"{_COMPOSE}.more_tables", "Push service images"),
    "compose stats": IndexEntry(
        f"{_COMPOSE}.more_tables", "Display a live stream of container(s) resource usage statistics"
    ),
    "compose volumes": IndexEntry(f"{_COMPOSE}.more_tables", "List volumes"),
    "compose build": IndexEntry(f"{_COMPOSE}.more_tables", "Build or rebuild services"),
    "compose config": IndexEntry(
        f"{_COMPOSE}.more_tables", "Parse, resolve and render compose file in canonical format"
    ),
    "compose create": IndexEntry(f"{_COMPOSE}.tables", "Creates containers for a service"),
    "compose down": IndexEntry(f"{_COMPOSE}.tables", "Stop and remove containers, networks"),
    "compose explain": IndexEntry(
        f"{_COMPOSE}.more_tables", "Show what `up` would do, why, and which line of which file it comes from"
    ),
    "compose graph": IndexEntry(
        f"{_COMPOSE}.conversions.graph", "Show services, what they depend on, their networks, volumes and ports"
    ),
    "compose exec": IndexEntry(f"{_COMPOSE}.tables", "Execute a command in a running container"),
    "compose images": IndexEntry(f"{_COMPOSE}.listing", "List images used by the created containers"),
    "compose kill": IndexEntry(f"{_COMPOSE}.tables", "Force stop service containers"),
    "compose logs": IndexEntry(f"{_COMPOSE}.more_tables", "View output from containers"),
    "compose ls": IndexEntry(f"{_COMPOSE}.listing", "List running compose projects"),
    "compose pause": IndexEntry(f"{_COMPOSE}.tables", "Pause services"),
    "compose port": IndexEntry(f"{_COMPOSE}.listing", "Print the public port for a port binding"),
    "compose ps": IndexEntry(f"{_COMPOSE}.listing", "List containers"),
    "compose pull": IndexEntry(f"{_COMPOSE}.more_tables", "Pull service images"),
    "compose restart": IndexEntry(f"{_COMPOSE}.tables", "Restart service containers"),
    "compose rm": IndexEntry(f"{_COMPOSE}.tables", "Removes stopped service containers"),
    "compose run": IndexEntry(f"{_COMPOSE}.tables", "Run a one-off command on a service"),
    "compose scale": IndexEntry(f"{_COMPOSE}.tables", "Scale services"),
    "compose start": IndexEntry(f"{_COMPOSE}.tables", "Start services"),
    "compose stop": IndexEntry(f"{_COMPOSE}.tables", "Stop services"),
    "compose top": IndexEntry(f"{_COMPOSE}.listing", "Display the running processes"),
    "compose unpause": IndexEntry(f"{_COMPOSE}.tables", "Unpause services"),
    "compose up": IndexEntry(f"{_COMPOSE}.tables", "Create and start containers"),
    "compose version": IndexEntry(f"{_COMPOSE}.listing", "Show the version of compose"),
    "compose watch": IndexEntry(
        f"{_COMPOSE}.tables", "Watch build context for service and rebuild/refresh containers when files are updated"
    ),
    "compose wait": IndexEntry(f"{_COMPOSE}.tables", "Block until containers of all (or specified) services stop."),
    "generate compose": IndexEntry(
        "darse.cli.commands.generate", "Print a compose file that makes containers like these"
    ),
    "login": IndexEntry(f"{_R}.login", "Authenticate to a registry"),
    "logout": IndexEntry(f"{_R}.login", "Log out from a registry"),
    "search": IndexEntry(f"{_R}.search", "Search Docker Hub for images"),
    "inspect": IndexEntry(f"{_S}.inspect", "Return low-level information on objects"),
    "version": IndexEntry(f"{_S}.version", "Show the version information"),
    "explain": IndexEntry(f"{_S}.explain", "Show what was done to a container, by a pull or a build, step by step"),
    "doctor": IndexEntry(f"{_S}.doctor", "Check what this host has and lacks"),
    "web": IndexEntry(f"{_S}.web", "Show the engine in a browser"),
    "completion": IndexEntry(f"{_S}.completion", "Print a completion script for bash, zsh or fish"),
}

# What else a command is called; the first is how help shows it.
ALIASES = {
    "run": "container run",
    "exec": "container exec",
    "ps": "container ls",
    "build": "image build",
    "build history": "builder history",
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
    "compose alpha generate": "generate compose",
    "compose alpha scale": "compose scale",
    "compose alpha watch": "compose watch",
    "compose bridge transformations ls": "compose bridge transformations list",
    "compose convert": "compose config",
    "container list": "container ls",
    "container ps": "container ls",
    "container remove": "container rm",
    "context list": "context ls",
    "context remove": "context rm",
    "image list": "image ls",
    "image remove": "image rm",
    "network list": "network ls",
    "network remove": "network rm",
    "plugin list": "plugin ls",
    "plugin remove": "plugin rm",
    "volume list": "volume ls",
    "volume remove": "volume rm",
}

GROUPS = {
    "builder": "Manage builds",
    "checkpoint": "Manage checkpoints",
    "container": "Manage containers",
    "context": "Manage contexts",
    "generate": "Make files from what is there",
    "image": "Manage images",
    "manifest": "Manage image manifests and manifest lists",
    "network": "Manage networks",
    "plugin": "Manage plugins",
    "system": "Manage the engine",
    "volume": "Manage volumes",
}

# Groups inside of groups.
SUBGROUPS = {
    "compose alpha": "Commands that may change",
    "compose bridge": "Convert a project into another model",
    "compose bridge transformations": "Manage the images that convert projects",
}

# Commands that have flags between their two words, and where those are: a table GROUP.
GROUP_FLAGS = {"compose": "darse.cli.commands.compose.flags"}

COMMON = ("run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info")


def resolve(words: list[str]) -> tuple[str, str, list[str]] | None:
    """Return the command that `words` begin with: the path as typed, the real path, and what follows."""
    for length in (4, 3, 2, 1):
        typed = " ".join(words[:length])
        if len(words) >= length and (typed in COMMANDS or typed in ALIASES):
            return typed, ALIASES.get(typed, typed), words[length:]
    return None


def aliases_of(path: str) -> list[str]:
    """The other names of a command."""
    return [alias for alias, target in ALIASES.items() if target == path]
