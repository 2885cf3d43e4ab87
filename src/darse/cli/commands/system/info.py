"""`info`: everything about the command's settings and the engine, in docker's layout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from darse.cli.command_line.flags import Command, string
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.system.version import client_version
from darse.cli.errors import ApiError, CliError
from darse.cli.output.format import INSPECT_FORMAT_HELP
from darse.client.requests import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from darse.client.documents.system import InfoDocument, RegistryConfigDocument


def info(invocation: Invocation) -> int:
    """Print it. What the engine warns of goes to standard error."""
    source = invocation.options.format
    failure: CliError | None = None
    server: InfoDocument | None = None
    errors: list[str] = []
    template = _template(source)
    try:
        server = invocation.client.do(system.info())
    except ApiError as error:
        errors.append(str(error))
    except CliError as error:
        failure = error
    client: dict[str, Any] = {
        "Debug": invocation.settings.debug,
        **{key: value for key, value in client_version(invocation).items() if key != "ApiVersion"},
        "Plugins": [],
        "Warnings": None,
    }
    if template is None:
        user = _user(invocation)
        _print(_client_lines(invocation))
        sys.stdout.write("\nServer:\n")
        if server is not None:
            _print(_server_lines(server, user, invocation.settings.debug))
            sys.stdout.write("\n")
            sys.stdout.flush()
            sys.stderr.write("".join(f"{line}\n" for line in server.get("Warnings") or ()))
    else:
        _print_template(template, {**(server or {}), "ClientInfo": client, "ServerErrors": errors or None})
    if failure is not None:
        raise failure
    if errors:
        raise CliError("\n".join([*(f"ERROR: {one}" for one in errors), "errors pretty printing info"]))
    return 0


def _print(lines: Iterable[str]) -> None:
    if sys.stdout.isatty():
        from darse.cli.command_line.help_pages import fitted

        lines = fitted(lines)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _user(invocation: Invocation) -> str:
    entry = invocation.settings.member("auths", dict).get("https://index.docker.io/v1/") or {}
    return str(entry.get("username", ""))


def _template(source: str) -> Any:
    if not source:
        return None
    from darse.cli.templates import Template, TemplateError

    try:
        return Template("{{json .}}" if source == "json" else source)
    except TemplateError as error:
        raise CliError(f"template parsing error: {error}", 64) from error


def _print_template(template: Any, document: dict[str, Any]) -> None:
    from darse.cli.templates import TemplateError

    try:
        sys.stdout.write(template.of_type(document, "system.dockerInfo") + "\n")
    except TemplateError as error:
        sys.stdout.write("\n")
        raise CliError(str(error)) from error


def _client_lines(invocation: Invocation) -> Iterator[str]:
    yield "Client: darse"
    yield f" Version:    {client_version(invocation)['Version']}"
    yield f" Context:    {invocation.settings.context_name()}"
    yield f" Debug Mode: {_text(invocation.settings.debug)}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _filled(document: Mapping[str, object], *names: tuple[str, str]) -> Iterator[str]:
    """Lines for those members that are not empty."""
    for title, name in names:
        if document.get(name):
            yield f" {title}: {document[name]}"


def _server_lines(server: InfoDocument, user: str, debug: bool) -> Iterator[str]:
    yield f" Containers: {server['Containers']}"
    yield f"  Running: {server['ContainersRunning']}"
    yield f"  Paused: {server['ContainersPaused']}"
    yield f"  Stopped: {server['ContainersStopped']}"
    yield f" Images: {server['Images']}"
    yield from _filled(server, ("Server Version", "ServerVersion"), ("Storage Driver", "Driver"))
    for name, value in server.get("DriverStatus") or ():
        yield f"  {name}: {value}"
    yield from _filled(
        server,
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
    )
    yield from _plugin_lines(server)
    yield f" Swarm: {(server.get('Swarm') or {}).get('LocalNodeState', '')}"
    if server.get("Runtimes"):
        yield f" Runtimes: {' '.join(server['Runtimes'])}"
        yield f" Default Runtime: {server['DefaultRuntime']}"
    yield f" Init Binary: {server['InitBinary']}"
    for title, commit in (
        ("containerd", server.get("ContainerdCommit")),
        ("runc", server.get("RuncCommit")),
        ("init", server.get("InitCommit")),
    ):
        yield f" {title} version: {(commit or {}).get('ID', '')}"
    yield from _security_lines(server)
    yield from _filled(
        server,
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    )
    yield from _host_lines(server, user, debug)
    yield from _registry_lines(server.get("RegistryConfig") or {})
    yield f" Live Restore Enabled: {_text(server['LiveRestoreEnabled'])}"
    if server.get("DefaultAddressPools"):
        yield " Default Address Pools:"
        for pool in server["DefaultAddressPools"]:
            yield f"   Base: {pool['Base']}, Size: {pool['Size']}"


def _plugin_lines(server: InfoDocument) -> Iterator[str]:
    plugins = server["Plugins"]
    yield " Plugins:"
    yield f"  Volume: {' '.join(plugins['Volume'] or ())}"
    yield f"  Network: {' '.join(plugins['Network'] or ())}"
    if authorization := plugins.get("Authorization"):
        yield f"  Authorization: {' '.join(authorization)}"
    yield f"  Log: {' '.join(plugins['Log'] or ())}"
    if server.get("CDISpecDirs"):
        yield " CDI spec directories:"
        yield from (f"  {directory}" for directory in server["CDISpecDirs"])


def _security_lines(server: InfoDocument) -> Iterator[str]:
    if not server.get("SecurityOptions"):
        return
    yield " Security Options:"
    for option in server["SecurityOptions"]:
        pairs = [part.partition("=")[::2] for part in option.split(",")]
        yield from (f"  {value}" for key, value in pairs if key == "name")
        yield from (f"   Profile: {value}" for key, value in pairs if key == "profile")


def _host_lines(server: InfoDocument, user: str, debug: bool) -> Iterator[str]:
    from darse.units import binary_size

    yield f" CPUs: {server['NCPU']}"
    yield f" Total Memory: {binary_size(server['MemTotal'])}"
    yield from _filled(server, ("Name", "Name"), ("ID", "ID"))
    yield f" Docker Root Dir: {server['DockerRootDir']}"
    yield f" Debug Mode: {_text(server['Debug'])}"
    if server["Debug"] or debug:
        yield f"  File Descriptors: {server['NFd']}"
        yield f"  Goroutines: {server['NGoroutines']}"
        yield f"  System Time: {server['SystemTime']}"
        yield f"  EventsListeners: {server['NEventsListener']}"
    yield from _filled(
        {**server, "UserName": user},
        ("HTTP Proxy", "HttpProxy"),
        ("HTTPS Proxy", "HttpsProxy"),
        ("No Proxy", "NoProxy"),
        ("Username", "UserName"),
    )
    if server.get("Labels"):
        yield " Labels:"
        yield from (f"  {label}" for label in server["Labels"])
    yield f" Experimental: {_text(server['ExperimentalBuild'])}"


def _registry_lines(registries: RegistryConfigDocument) -> Iterator[str]:
    indices, ranges = registries.get("IndexConfigs") or {}, registries.get("InsecureRegistryCIDRs") or []
    if indices or ranges:
        yield " Insecure Registries:"
        yield from (f"  {index['Name']}" for index in indices.values() if not index["Secure"])
        yield from (f"  {one}" for one in ranges)
    if registries.get("Mirrors"):
        yield " Registry Mirrors:"
        yield from (f"  {mirror}" for mirror in registries["Mirrors"])


COMMANDS = {
    "system info": (
        Command(
            "system info",
            "[OPTIONS]",
            "Display system-wide information",
            (string("format", INSPECT_FORMAT_HELP, "f"),),
        ),
        info,
    )
}
