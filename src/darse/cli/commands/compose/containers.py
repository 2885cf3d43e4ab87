"""`darse compose attach`, `commit`, `cp`, `export` and `stats`: commands on containers, by the names of services."""

from __future__ import annotations

from darse.cli.command_line.flags import parse
from darse.cli.command_line.index import COMMANDS as ALL_COMMANDS
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.listing import all_containers, chosen
from darse.cli.commands.compose.progress import is_dry_run
from darse.cli.commands.compose.projects import load_or_name
from darse.cli.errors import CliError
from darse.compose import label_names as labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def run_command(invocation: Invocation, path: str, words: Sequence[str]) -> int:
    """Run another command of darse with these words; return its exit status. Raises CliError."""
    command, function = ALL_COMMANDS[path].load(path)
    options, arguments = parse(command, list(words))
    with Invocation(path, options, arguments, invocation.settings) as inside:
        return int(function(inside) or 0)


def attach(invocation: Invocation) -> int:
    """Attach to a service's container."""
    options = invocation.options
    words = [f"--detach-keys={options.detach_keys}"] if options.detach_keys else []
    words += ["--no-stdin"] if options.no_stdin else []
    words += ["--sig-proxy=false"] if not options.sig_proxy else []
    return _on_chosen(invocation, "container attach", words)


def commit(invocation: Invocation) -> int:
    """Make an image of a service's container."""
    options = invocation.options
    words = [f"--author={options.author}"] if options.author else []
    words += [f"--message={options.message}"] if options.message else []
    words += [f"--change={one}" for one in options.change]
    words += ["--pause=false"] if not options.pause else []
    return _on_chosen(invocation, "container commit", words)


def export(invocation: Invocation) -> int:
    """Write the files of a service's container as an archive."""
    output = invocation.options.output
    return _on_chosen(invocation, "container export", [f"--output={output}"] if output else [])


def _on_chosen(invocation: Invocation, path: str, words: list[str]) -> int:
    name, project = load_or_name(invocation)
    service, *rest = invocation.arguments
    container = chosen(invocation, name, project, service, invocation.options.index, all_=path != "container attach")
    if is_dry_run(invocation):
        return 0
    return run_command(invocation, path, [*words, container["Id"], *rest])


def copy(invocation: Invocation) -> int:
    """Copy files out of a service's container, or into all of its containers."""
    options = invocation.options
    source, destination = invocation.arguments
    from_service, _, from_path = _split(source)
    to_service, _, to_path = _split(destination)
    if from_service and to_service:
        raise CliError("copying between services is not supported")
    if not from_service and not to_service:
        raise CliError("unknown copy direction: one of the two is SERVICE:PATH")
    name, project = load_or_name(invocation)
    words = [flag for flag, is_set in (("-a", options.archive), ("-L", options.follow_link)) if is_set]
    service = from_service or to_service
    found = [
        one
        for one in all_containers(invocation, name, project, service)
        if options.all or one["Labels"].get(labels.ONE_OFF) != "True"
    ]
    if options.index is not None:
        found = [one for one in found if one["Labels"].get(labels.NUMBER) == str(options.index)]
    if not found:
        raise CliError(f'no container found for service "{service}"')
    if is_dry_run(invocation):
        return 0
    if from_service:
        return run_command(invocation, "container cp", [*words, f"{found[0]['Id']}:{from_path}", destination])
    status = 0
    for one in found:
        status = max(status, run_command(invocation, "container cp", [*words, source, f"{one['Id']}:{to_path}"]))
    return status


def _split(text: str) -> tuple[str, str, str]:
    """SERVICE:PATH; a path that begins with a dot or a slash is one of this machine."""
    service, colon, path = text.partition(":")
    return (service, colon, path) if colon and not text.startswith(("/", ".")) else ("", "", text)


def stats(invocation: Invocation) -> int:
    """Show what the containers of a project use."""
    options = invocation.options
    name, project = load_or_name(invocation)
    service = invocation.arguments[0] if invocation.arguments else ""
    found = all_containers(invocation, name, project, service)
    if not options.all:
        found = [one for one in found if one["State"] in ("running", "paused")]
    if not found:
        return 0
    words = [f"--format={options.format}"] if options.format else []
    words += ["--no-stream"] if options.no_stream else []
    words += ["--no-trunc"] if options.no_trunc else []
    return run_command(invocation, "container stats", [*words, *(one["Names"][0].removeprefix("/") for one in found)])
