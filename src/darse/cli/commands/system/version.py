"""`version`: of the command and of the engine."""

from __future__ import annotations

import sys

from darse import __version__, revision
from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.client import API_VERSION
from darse.client.requests import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from darse.client.documents.system import ComponentDocument, VersionDocument


def version(invocation: Invocation) -> int:
    """Print the versions; with `--client` without a word to the engine."""
    options = invocation.options
    client = client_version(invocation)
    if options.client and not options.format:
        sys.stdout.write(_client_text(client))
        return 0
    template = _template(options.format)
    failure: CliError | None = None
    server: VersionDocument | None = None
    if not options.client:
        try:
            server = invocation.client.do(system.version())
        except CliError as error:
            failure = error
    for component in (server or {}).get("Components") or ():
        details = component.get("Details") or {}
        if details.get("BuildTime"):
            details["BuildTime"] = _date(details["BuildTime"])
    if template is None:
        sys.stdout.write(_client_text(client))
        if server is not None:
            sys.stdout.write("\n" + _server_text(server))
    else:
        _print_template(template, client, server, failure)
    if failure is not None:
        raise failure
    if server is not None:
        warn_of_another_build(client["GitCommit"], server)
    return 0


def _date(text: str) -> str:
    """A time of the API as docker's client shows those of builds (Go's ANSIC); what is none stays as it is."""
    import time

    # strptime(3) of this language imports regular expressions: twice the time that the rest of the command takes.
    parts = [text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19]]
    if len(text) != len("2026-01-02T03:04:05Z") or not all(part.isdecimal() for part in parts):
        return text
    year, month, day, hour, minute, second = map(int, parts)
    try:
        weekday = time.localtime(time.mktime((year, month, day, 12, 0, 0, 0, 0, -1))).tm_wday
        return time.strftime("%a %b %e %H:%M:%S %Y", (year, month, day, hour, minute, second, weekday, 1, 0))
    except (ValueError, OverflowError):
        return text


def warn_of_another_build(commit: str, server: VersionDocument) -> None:
    """Say on standard error that the engine was started from other files than the command is of."""
    other = server.get("GitCommit", "")
    if commit and other and commit != other and (server.get("Platform") or {}).get("Name") == "darse":
        sys.stderr.write(
            f"WARNING: the engine is build {other}, and this command is build {commit}: `darse system restart` starts "
            "the engine of this build; containers run on\n"
        )


def client_version(invocation: Invocation) -> dict[str, str]:
    """What `version` says of the command."""
    import os

    machine = os.uname().machine
    commit, built = revision.identity()
    python = sys.version_info
    return {
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "DefaultAPIVersion": API_VERSION,
        "GitCommit": commit,
        "GoVersion": f"python{python.major}.{python.minor}.{python.micro}",
        "Os": "linux",
        "Arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "BuildTime": _date(built),
        "Context": invocation.settings.context_name(),
    }


def _lines(indent: str, pairs: list[tuple[str, str]]) -> str:
    """Names and values in two columns; what is not known is left out."""
    return "".join(f"{indent}{name + ':':<{19 - len(indent)}} {value}\n" for name, value in pairs if value)


def _runtime(version_text: str) -> tuple[str, str]:
    if version_text.startswith("python"):
        return "Python version", version_text.removeprefix("python")
    return "Go version", version_text


def _client_text(client: dict[str, str]) -> str:
    pairs = [
        ("Version", client["Version"]),
        ("API version", client["ApiVersion"]),
        _runtime(client["GoVersion"]),
        ("Git commit", client["GitCommit"]),
        ("Built", client["BuildTime"]),
        ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
        ("Context", client["Context"]),
    ]
    return "Client: darse\n" + _lines(" ", pairs)


def _server_text(server: VersionDocument) -> str:
    platform = (server.get("Platform") or {}).get("Name", "")
    text = f"Server: {platform}".rstrip() + "\n"
    for component in server.get("Components") or [_engine(server)]:
        details = component.get("Details") or {}
        text += f" {component['Name']}:\n"
        if component["Name"] != "Engine":
            text += _lines("  ", [("Version", component["Version"]), *sorted(details.items())])
            continue
        minimum = details.get("MinAPIVersion", "")
        pairs = [
            ("Version", component["Version"]),
            ("API version", f"{details.get('ApiVersion', '')} (minimum version {minimum})"),
            _runtime(details.get("GoVersion", "")),
            ("Git commit", details.get("GitCommit", "")),
            ("Built", details.get("BuildTime", "")),
            ("OS/Arch", f"{details.get('Os', '')}/{details.get('Arch', '')}"),
            ("Experimental", details.get("Experimental", "")),
        ]
        text += _lines("  ", pairs)
    return text


def _engine(server: VersionDocument) -> ComponentDocument:
    """The engine as a component, for engines that list none."""
    details = {
        "ApiVersion": server.get("ApiVersion", ""),
        "MinAPIVersion": server.get("MinAPIVersion", ""),
        "GitCommit": server.get("GitCommit", ""),
        "GoVersion": server.get("GoVersion", ""),
        "Os": server.get("Os", ""),
        "Arch": server.get("Arch", ""),
        "BuildTime": server.get("BuildTime", ""),
        "Experimental": str(server.get("Experimental", False)).lower(),
    }
    return {"Name": "Engine", "Version": server.get("Version", ""), "Details": details}


def _template(source: str) -> Any:
    if not source:
        return None
    from darse.cli.templates import Template, TemplateError

    try:
        return Template("{{json .}}" if source == "json" else source, "version")
    except TemplateError as error:
        raise CliError(f"template parsing error: {error}", 64) from error


def _print_template(
    template: Any, client: dict[str, str], server: VersionDocument | None, failure: CliError | None
) -> None:
    from darse.cli.output.table import align
    from darse.cli.templates import TemplateError

    if server is not None and not server.get("Components"):
        server["Components"] = [_engine(server)]
    try:
        text = template.of_type({"Client": client, "Server": server}, "system.versionInfo")
    except TemplateError as error:
        sys.stdout.write("\n")
        # Without an engine that is what is wrong, not what the template found.
        raise failure or CliError(str(error)) from error
    sys.stdout.write(align(text, minimum=20, padding=1) + "\n")


COMMANDS = {
    "version": (
        Command(
            "version",
            "[OPTIONS]",
            "Show the version information",
            (
                switch("client", "Only about the command, without asking the engine"),
                string("format", "Format output using a custom template: 'json', or a Go template", "f"),
            ),
        ),
        version,
    )
}
