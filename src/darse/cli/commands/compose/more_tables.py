"""What building, copying and looking at a project are called with; the work is imported when it is done."""

from __future__ import annotations

from darse.cli.command_line.flags import Command, Flag, listing, number, parse, string, switch
from darse.cli.commands.compose.flags import DRY_RUN, GROUP, deferred
from darse.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.cli.command_line.invocation import Invocation

_INDEX = number("index", "Index of the container if service has multiple replicas")


def _dry_run(invocation: Invocation) -> int:
    """Run another command of compose as with `--dry-run` before its name."""
    from darse.cli.command_line import index
    from darse.cli.entry import run_command

    words = ["compose", *invocation.arguments]
    found = index.resolve(words)
    if found is None:
        raise CliError(f"unknown compose command: {invocation.arguments[0]}")
    group = invocation.group_options or parse(GROUP, [])[0]
    setattr(group, DRY_RUN.attribute, True)
    return run_command(*found, invocation.settings, group)


COMMANDS = {
    "compose alpha dry-run": (
        Command(
            "compose alpha dry-run",
            "-- COMMAND [ARG...]",
            "Show what a command would do, and change nothing: `compose --dry-run COMMAND`",
            minimum=1,
            maximum=None,
            interspersed=False,
        ),
        _dry_run,
    ),
    "compose build": (
        Command(
            "compose build",
            "[OPTIONS] [SERVICE...]",
            "Build or rebuild services",
            (
                listing("build-arg", "Set build-time variables for services", value="stringArray"),
                string("builder", "Set builder to use (there is one)"),
                switch("check", "Check build configuration"),
                Flag("compress", "bool", "Compress the build context (never needed)", hidden=True),
                Flag("force-rm", "bool", "Always remove intermediate containers (always done)", hidden=True),
                string("memory", "Set memory limit for the build container", "m", value="bytes"),
                switch("no-cache", "Do not use cache when building the image"),
                Flag("no-rm", "bool", "Do not remove intermediate containers (there are none)", hidden=True),
                Flag("parallel", "bool", "Build images beside each other (always done)", default=True, hidden=True),
                switch("print", "Print the builds' command lines, and build nothing"),
                Flag("progress", "string", "Set type of ui output (auto, tty, plain, json, quiet)", hidden=True),
                string("provenance", "Add a provenance attestation"),
                switch("pull", "Always attempt to pull a newer version of the image"),
                switch("push", "Push service images"),
                switch("quiet", "Suppress the build output", "q"),
                string("sbom", "Add a SBOM attestation"),
                string("ssh", "Set SSH authentications used when building service images ('default': the agent)"),
                switch("with-dependencies", "Also build dependencies (transitively)"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("build", "build"),
    ),
    "compose config": (
        Command(
            "compose config",
            "[OPTIONS] [SERVICE...]",
            "Parse, resolve and render compose file in canonical format",
            (
                switch("environment", "Print environment used for interpolation"),
                string("format", "Format the output. Values: [yaml | json]"),
                string("hash", "Print the service config hash, one per line"),
                switch("images", "Print the image names, one per line"),
                switch("lock-image-digests", "Produces an override file with image digests"),
                switch("models", "Print the model names, one per line"),
                switch("networks", "Print the network names, one per line"),
                switch("no-consistency", "Don't check model consistency - warning: may produce invalid Compose output"),
                switch("no-env-resolution", "Don't resolve service env files"),
                switch("no-interpolate", "Don't interpolate environment variables"),
                switch("no-normalize", "Don't normalize compose model"),
                switch("no-path-resolution", "Don't resolve file paths"),
                string("output", "Save to file (default to stdout)", "o"),
                switch("profiles", "Print the profile names, one per line"),
                switch("quiet", "Only validate the configuration, don't print anything", "q"),
                switch("resolve-image-digests", "Pin image tags to digests"),
                switch("services", "Print the service names, one per line"),
                switch("variables", "Print model variables and default values"),
                switch("volumes", "Print the volume names, one per line"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("config", "config", uses_asyncio=False),
    ),
    "compose pull": (
        Command(
            "compose pull",
            "[OPTIONS] [SERVICE...]",
            "Pull service images",
            (
                switch("ignore-buildable", "Ignore images that can be built"),
                switch("ignore-pull-failures", "Pull what it can and ignores images with pull failures"),
                switch("include-deps", "Also pull services declared as dependencies"),
                Flag("no-parallel", "bool", "Pull images one after the other (of no effect)", hidden=True),
                Flag("parallel", "bool", "Pull images beside each other (always done)", default=True, hidden=True),
                string("policy", 'Apply pull policy ("missing"|"always")'),
                switch("quiet", "Pull without printing progress information", "q"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("pull", "pull_images"),
    ),
    "compose volumes": (
        Command(
            "compose volumes",
            "[OPTIONS] [SERVICE...]",
            "List volumes",
            (
                string("format", 'Format output using a custom template ("table", "json" or a Go template)'),
                switch("quiet", "Only display volume names", "q"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("resources", "volumes"),
    ),
    "compose events": (
        Command(
            "compose events",
            "[OPTIONS] [SERVICE...]",
            "Receive real time events from containers",
            (
                switch("json", "Output events as a stream of json objects"),
                string("since", "Show all events created since timestamp"),
                string("until", "Stream events until this timestamp"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("resources", "events"),
    ),
    "compose push": (
        Command(
            "compose push",
            "[OPTIONS] [SERVICE...]",
            "Push service images",
            (
                switch("ignore-push-failures", "Push what it can and ignores images with push failures"),
                switch("include-deps", "Also push images of services declared as dependencies"),
                switch("quiet", "Push without printing progress information", "q"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("resources", "push"),
    ),
    "compose publish": (
        Command(
            "compose publish",
            "[OPTIONS] REPOSITORY[:TAG]",
            "Publish compose application",
            (
                switch("app", "Publish the images that it refers to, too"),
                string("oci-version", "OCI image/artifact specification version (1.0 is for older registries)"),
                switch("resolve-image-digests", "Pin image tags to digests"),
                switch("with-env", "Include environment variables in the published OCI artifact"),
                switch("yes", 'Assume "yes" as answer to all prompts', "y"),
                DRY_RUN,
            ),
            minimum=1,
            maximum=1,
        ),
        deferred("publishing", "publish"),
    ),
    "compose attach": (
        Command(
            "compose attach",
            "[OPTIONS] SERVICE",
            "Attach local standard input, output, and error streams to a service's running container",
            (
                string("detach-keys", "Override the key sequence for detaching from a container"),
                _INDEX,
                switch("no-stdin", "Do not attach STDIN"),
                switch("sig-proxy", "Proxy all received signals to the process", default=True),
                DRY_RUN,
            ),
            1,
            1,
        ),
        deferred("containers", "attach"),
    ),
    "compose commit": (
        Command(
            "compose commit",
            "[OPTIONS] SERVICE [REPOSITORY[:TAG]]",
            "Create a new image from a service container's changes",
            (
                string("author", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")', "a"),
                listing("change", "Apply Dockerfile instruction to the created image", "c"),
                _INDEX,
                string("message", "Commit message", "m"),
                switch("pause", "Pause container during commit", "p", default=True),
                DRY_RUN,
            ),
            1,
            2,
        ),
        deferred("containers", "commit"),
    ),
    "compose cp": (
        Command(
            "compose cp",
            "[OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n\tdarse compose cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH",
            "Copy files/folders between a service container and the local filesystem",
            (
                switch("all", "Include containers created by the run command"),
                switch("archive", "Archive mode (copy all uid/gid information)", "a"),
                switch("follow-link", "Always follow symbol link in SRC_PATH", "L"),
                _INDEX,
                DRY_RUN,
            ),
            2,
            2,
        ),
        deferred("containers", "copy"),
    ),
    "compose export": (
        Command(
            "compose export",
            "[OPTIONS] SERVICE",
            "Export a service container's filesystem as a tar archive",
            (_INDEX, string("output", "Write to a file, instead of STDOUT", "o"), DRY_RUN),
            1,
            1,
        ),
        deferred("containers", "export"),
    ),
    "compose stats": (
        Command(
            "compose stats",
            "[OPTIONS] [SERVICE]",
            "Display a live stream of container(s) resource usage statistics",
            (
                switch("all", "Show all containers (default shows just running)", "a"),
                string("format", "Format output using a custom template"),
                switch("no-stream", "Disable streaming stats and only pull the first result"),
                switch("no-trunc", "Do not truncate output"),
                DRY_RUN,
            ),
            0,
            1,
        ),
        deferred("containers", "stats"),
    ),
    "compose logs": (
        Command(
            "compose logs",
            "[OPTIONS] [SERVICE...]",
            "View output from containers",
            (
                switch("follow", "Follow log output", "f"),
                number("index", "index of the container if service has multiple replicas"),
                switch("no-color", "Produce monochrome output"),
                switch("no-log-prefix", "Don't print prefix in logs"),
                string(
                    "since",
                    "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)",
                ),
                string(
                    "tail", "Number of lines to show from the end of the logs for each container", "n", default="all"
                ),
                switch("timestamps", "Show timestamps", "t"),
                string(
                    "until",
                    "Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)",
                ),
                DRY_RUN,
            ),
            maximum=None,
        ),
        deferred("logs", "logs"),
    ),
    "compose explain": (
        Command(
            "compose explain",
            "[OPTIONS] [SERVICE...]",
            "Show what `up` would do, why, and which line of which file it comes from",
            (string("format", 'Format of the output ("text" or "json")'),),
            maximum=None,
        ),
        deferred("explain", "explain"),
    ),
}
