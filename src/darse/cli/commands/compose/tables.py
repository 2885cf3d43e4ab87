"""What bringing a project up and down, and running in it, are called with; the work is imported when it is done."""

from __future__ import annotations

from darse.cli.command_line.flags import Command, Flag, listing, number, string, switch
from darse.cli.commands.compose.flags import DRY_RUN, deferred
from darse.cli.commands.compose.unchanged import up as up_unless_unchanged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from darse.cli.command_line.invocation import Invocation


def _shared(pulls: str) -> tuple[Flag, ...]:
    return (
        switch("build", "Build images before starting containers"),
        switch("no-build", "Don't build an image, even if it's policy"),
        switch("force-recreate", "Recreate containers even if their configuration and image haven't changed"),
        switch("no-recreate", "If containers already exist, don't recreate them. Incompatible with --force-recreate."),
        string("pull", f"Pull image before running ({pulls})", default="policy"),
        switch("quiet-pull", "Pull without printing progress information"),
        switch("remove-orphans", "Remove containers for services not defined in the Compose file"),
        listing(
            "scale",
            "Scale SERVICE to NUM instances. Overrides the scale setting in the Compose file if present.",
            value="scale",
        ),
        switch("yes", 'Assume "yes" as answer to all prompts and run non-interactively', "y"),
        DRY_RUN,
    )


_TIMEOUT = number("timeout", "Specify a shutdown timeout in seconds", "t")


def _of_services(
    name: str, summary: str, *flags: Flag, minimum: int = 0
) -> tuple[Command, Callable[[Invocation], int | None]]:
    usage = "[OPTIONS] [SERVICE...]" if not minimum else "SERVICE [SERVICE...] [OPTIONS]"
    command = Command(f"compose {name}", usage, summary, (*flags, DRY_RUN), minimum=minimum, maximum=None)
    return command, deferred("lifecycle", name)


COMMANDS = {
    "compose up": (
        Command(
            "compose up",
            "[OPTIONS] [SERVICE...]",
            "Create and start containers",
            (
                *_shared('"always"|"missing"|"never"'),
                switch(
                    "abort-on-container-exit",
                    "Stops all containers if any container was stopped. Incompatible with -d",
                ),
                switch(
                    "abort-on-container-failure",
                    "Stops all containers if any container exited with failure. Incompatible with -d",
                ),
                switch("always-recreate-deps", "Recreate dependent containers. Incompatible with --no-recreate."),
                listing(
                    "attach",
                    "Restrict attaching to the specified services. Incompatible with --attach-dependencies.",
                    value="stringArray",
                ),
                switch("attach-dependencies", "Automatically attach to log output of dependent services"),
                switch("detach", "Detached mode: Run containers in the background", "d"),
                string(
                    "exit-code-from",
                    "Return the exit code of the selected service container. Implies --abort-on-container-exit",
                ),
                switch(
                    "menu",
                    "Enable interactive shortcuts when running attached (the default, unless COMPOSE_MENU says no): w "
                    "to watch files, d to detach. Incompatible with --detach.",
                ),
                listing("no-attach", "Do not attach (stream logs) to the specified services", value="stringArray"),
                switch("no-color", "Produce monochrome output"),
                switch("no-deps", "Don't start linked services"),
                switch("no-log-prefix", "Don't print prefix in logs"),
                switch("no-start", "Don't start the services after creating them"),
                switch("quiet-build", "Suppress the build output"),
                switch(
                    "renew-anon-volumes",
                    "Recreate anonymous volumes instead of retrieving data from the previous containers",
                    "V",
                ),
                number(
                    "timeout",
                    "Use this timeout in seconds for container shutdown when attached or when containers are already "
                    "running",
                    "t",
                ),
                switch("timestamps", "Show timestamps"),
                switch("wait", "Wait for services to be running|healthy. Implies detached mode."),
                number("wait-timeout", "Maximum duration in seconds to wait for the project to be running|healthy"),
                switch("watch", "Watch source code and rebuild/refresh containers when files are updated.", "w"),
            ),
            maximum=None,
        ),
        up_unless_unchanged,
    ),
    "compose create": (
        Command(
            "compose create",
            "[OPTIONS] [SERVICE...]",
            "Creates containers for a service",
            _shared('"always"|"missing"|"never"|"build"'),
            maximum=None,
        ),
        deferred("up", "create"),
    ),
    "compose scale": (
        Command(
            "compose scale",
            "[SERVICE=REPLICAS...]",
            "Scale services",
            (switch("no-deps", "Don't start linked services"), DRY_RUN),
            minimum=1,
            maximum=None,
        ),
        deferred("up", "scale"),
    ),
    "compose down": (
        Command(
            "compose down",
            "[OPTIONS] [SERVICES]",
            "Stop and remove containers, networks",
            (
                switch("remove-orphans", "Remove containers for services not defined in the Compose file"),
                string(
                    "rmi",
                    'Remove images used by services. "local" remove only images that don\'t have a custom tag '
                    '("local"|"all")',
                ),
                number("timeout", "Specify a shutdown timeout in seconds", "t"),
                switch(
                    "volumes",
                    'Remove named volumes declared in the "volumes" section of the Compose file and anonymous volumes '
                    "attached to containers",
                    "v",
                ),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("down", "down"),
    ),
    "compose rm": (
        Command(
            "compose rm",
            "[OPTIONS] [SERVICE...]",
            "Removes stopped service containers",
            (
                Flag("all", "bool", "Include containers made by run (always done)", "a", hidden=True),
                switch("force", "Don't ask to confirm removal", "f"),
                switch("stop", "Stop the containers, if required, before removing", "s"),
                switch("volumes", "Remove any anonymous volumes attached to containers", "v"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("down", "remove"),
    ),
    "compose start": _of_services(
        "start",
        "Start services",
        switch("wait", "Wait for services to be running|healthy. Implies detached mode."),
        number("wait-timeout", "Maximum duration in seconds to wait for the project to be running|healthy"),
    ),
    "compose stop": _of_services("stop", "Stop services", _TIMEOUT),
    "compose restart": _of_services(
        "restart",
        "Restart service containers",
        switch("no-deps", "Don't restart dependent services"),
        _TIMEOUT,
    ),
    "compose kill": _of_services(
        "kill",
        "Force stop service containers",
        switch("remove-orphans", "Remove containers for services not defined in the Compose file"),
        string("signal", "SIGNAL to send to the container", "s", default="SIGKILL"),
    ),
    "compose pause": _of_services("pause", "Pause services"),
    "compose unpause": _of_services("unpause", "Unpause services"),
    "compose wait": _of_services(
        "wait",
        "Block until containers of all (or specified) services stop.",
        switch("down-project", "Drops project when the first container stops"),
        minimum=1,
    ),
    "compose exec": (
        Command(
            "compose exec",
            "[OPTIONS] SERVICE COMMAND [ARGS...]",
            "Execute a command in a running container",
            (
                switch("detach", "Detached mode: Run command in the background", "d"),
                listing("env", "Set environment variables", "e", "stringArray"),
                number("index", "Index of the container if service has multiple replicas"),
                Flag("interactive", "bool", "Keep STDIN open even if not attached", "i", default=True, hidden=True),
                switch("no-tty", "Disable pseudo-TTY allocation. By default a TTY is allocated on a terminal.", "T"),
                switch("privileged", "Give extended privileges to the process"),
                Flag("tty", "bool", "Allocate a pseudo-TTY", "t", default=True, hidden=True),
                string("user", "Run the command as this user", "u"),
                string("workdir", "Path to workdir directory for this command", "w"),
                DRY_RUN,
            ),
            minimum=2,
            maximum=None,
            interspersed=False,
        ),
        deferred("run", "execute"),
    ),
    "compose run": (
        Command(
            "compose run",
            "[OPTIONS] SERVICE [COMMAND] [ARGS...]",
            "Run a one-off command on a service",
            (
                switch("build", "Build image before starting container"),
                listing("cap-add", "Add Linux capabilities"),
                listing("cap-drop", "Drop Linux capabilities"),
                switch("detach", "Run container in background and print container ID", "d"),
                string("entrypoint", "Override the entrypoint of the image"),
                listing("env", "Set environment variables", "e", "stringArray"),
                listing("env-from-file", "Set environment variables from file", value="stringArray"),
                switch("interactive", "Keep STDIN open even if not attached", "i", default=True),
                listing("label", "Add or override a label", "l", "stringArray"),
                string("name", "Assign a name to the container"),
                switch("no-TTY", "Disable pseudo-TTY allocation (default: auto-detected)", "T"),
                Flag("no-tty", "bool", "Disable pseudo-TTY allocation", hidden=True),
                switch("no-deps", "Don't start linked services"),
                listing("publish", "Publish a container's port(s) to the host", "p", "stringArray"),
                string("pull", 'Pull image before running ("always"|"missing"|"never")', default="policy"),
                switch("quiet", "Don't print anything to STDOUT", "q"),
                switch("quiet-build", "Suppress progress output from the build process"),
                switch("quiet-pull", "Pull without printing progress information"),
                switch("remove-orphans", "Remove containers for services not defined in the Compose file"),
                switch("rm", "Automatically remove the container when it exits"),
                switch("service-ports", "Run command with all service's ports enabled and mapped to the host", "P"),
                Flag("tty", "bool", "Allocate a pseudo-TTY", "t", default=True, hidden=True),
                switch("use-aliases", "Use the service's network aliases in the network(s) the container connects to"),
                string("user", "Run as specified username or uid", "u"),
                listing("volume", "Bind mount a volume", "v", "stringArray"),
                string("workdir", "Working directory inside the container", "w"),
                DRY_RUN,
            ),
            minimum=1,
            maximum=None,
            interspersed=False,
        ),
        deferred("run", "run_one_off"),
    ),
    "compose watch": (
        Command(
            "compose watch",
            "[OPTIONS] [SERVICE...]",
            "Watch build context for service and rebuild/refresh containers when files are updated",
            (
                switch("no-up", "Do not build & start services before watching"),
                switch("prune", "Prune dangling images on rebuild (the engine's own collection does)", default=True),
                switch("quiet", "Hide build output"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("watching.watch", "watch"),
    ),
}
