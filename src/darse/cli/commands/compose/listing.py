"""`darse compose ps`, `ls`, `images`, `top`, `port` and `version`."""

# ruff: noqa: N802 - methods are named as the placeholders

from __future__ import annotations

import json
import re
import sys
from collections import Counter

from darse.cli.command_line.flags import Command, listing, number, parse_filters, string, switch, terminal_width
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.flags import DRY_RUN
from darse.cli.commands.compose.projects import load_or_name
from darse.cli.errors import CliError
from darse.cli.output.container_rows import HEADINGS, ContainerRow
from darse.cli.output.format import FORMAT_HELP, ago, short_id, write
from darse.cli.output.table import align, fit
from darse.cli.terminal import screen
from darse.client.requests import containers as container_requests
from darse.client.requests import images as image_requests
from darse.compose import label_names as labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from darse.client.documents.containers import ContainerSummaryDocument
    from darse.client.documents.images import ImageInspectDocument
    from darse.compose.model.project import Project

# The state of the health check, which lists have in the status only before version 1.52 of the API.
_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)\Z")
_EXIT = re.compile(r"Exited \((\d+)\)")
_TABLE = "table {{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}"
_STATES = ("paused", "restarting", "removing", "running", "dead", "created", "exited")
_DIGITS = 3
# What a long path or command may be shortened to, in columns.
_LEAST = 12
# In the order of docker compose's JSON.
_MEMBERS = (
    *("Command", "CreatedAt", "ExitCode", "Health", "ID", "Image", "Labels", "LocalVolumes", "Mounts", "Name", "Names"),
    *("Networks", "Ports", "Project", "Publishers", "RunningFor", "Service", "Size", "State", "Status"),
)


class ServiceContainerRow(ContainerRow):
    """A container of a project."""

    GO_NAME: ClassVar[str] = "*formatter.ContainerContext"

    def Name(self) -> str:
        return self.Names()

    def Service(self) -> str:
        return self.Label(labels.SERVICE)

    def Project(self) -> str:
        return self.Label(labels.PROJECT)

    def Health(self) -> str:
        found = _HEALTH.search(self.Status())
        return found[1] if found else ""

    def ExitCode(self) -> Any:
        found = _EXIT.match(self.Status())
        return int(found[1]) if found else 0

    def Publishers(self) -> Any:
        return [
            {
                "URL": port.get("IP", ""),
                "TargetPort": port["PrivatePort"],
                "PublishedPort": port.get("PublicPort", 0),
                "Protocol": port["Type"],
            }
            for port in self.document.get("Ports") or ()
        ]

    def json_document(self) -> dict[str, Any]:
        """All that `--format json` shows."""
        return {name: getattr(self, name)() for name in _MEMBERS}


_PS_HEADINGS = {
    **HEADINGS,
    "Name": "NAME",
    "Service": "SERVICE",
    "Project": "PROJECT",
    "Health": "HEALTH",
    "ExitCode": "EXIT CODE",
    "Publishers": "PUBLISHERS",
}


def _containers(invocation: Invocation, name: str, *, all_: bool = True) -> list[ContainerSummaryDocument]:
    filters = {"label": [f"{labels.PROJECT}={name}", labels.CONFIG_HASH]}
    found = invocation.client.do(container_requests.list_containers(all=all_, filters=filters))
    return sorted(found, key=lambda one: str(one["Names"][0]) if one["Names"] else "")


def _of_services(
    containers: list[ContainerSummaryDocument], services: list[str], project: Project | None
) -> list[ContainerSummaryDocument]:
    known = {one["Labels"].get(labels.SERVICE, "") for one in containers}
    known |= set(project.all_services()) if project is not None else set()
    for name in services:
        if name not in known:
            raise CliError(f"no such service: {name}")
    return [one for one in containers if not services or one["Labels"].get(labels.SERVICE) in services]


def _is_one_off(container: ContainerSummaryDocument) -> bool:
    return bool(container["Labels"].get(labels.ONE_OFF) == "True")


def processes(invocation: Invocation) -> int:
    """List the containers of a project."""
    options = invocation.options
    name, project = load_or_name(invocation)
    states = [*options.status]
    for text in [options.filter] if options.filter else []:
        key, equals, value = text.partition("=")
        if key != "status" or not equals:
            raise CliError(f"arguments to --filter should be in form KEY=VAL; only status is supported: {text}")
        states.append(value)
    for one in states:
        if one not in _STATES:
            raise CliError(f"unknown status {one}: it is one of {', '.join(_STATES)}")
    found = _of_services(_containers(invocation, name), invocation.arguments, project)
    if states:
        found = [one for one in found if one["State"] in states]
    elif not options.all:
        found = [one for one in found if one["State"] in ("running", "paused", "restarting")]
    if not options.all and not states:
        found = [one for one in found if not _is_one_off(one)]
    if not options.orphans and project is not None:
        found = [one for one in found if one["Labels"].get(labels.SERVICE) in project.all_services()]
    _print(invocation, found)
    return 0


def _print(invocation: Invocation, found: list[ContainerSummaryDocument]) -> None:
    options = invocation.options
    if options.quiet:
        sys.stdout.writelines(f"{one['Id']}\n" for one in found)
        return
    if options.services:
        names = dict.fromkeys(one["Labels"].get(labels.SERVICE, "") for one in found)
        sys.stdout.writelines(f"{name}\n" for name in names)
        return
    rows = [ServiceContainerRow(one, truncate=not options.no_trunc) for one in found]
    if options.format == "json":
        for row in rows:
            sys.stdout.write(_go_json(row.json_document()) + "\n")
        return
    is_default = options.format in ("", "table")
    write(_TABLE if is_default else options.format, rows, _PS_HEADINGS, may_fit=is_default and not options.no_trunc)


def _go_json(value: Any) -> str:
    from darse.compose.output.encode import go_json

    return go_json(value)


def projects(invocation: Invocation) -> int:
    """List the projects of the engine."""
    options = invocation.options
    filters = {"label": [labels.PROJECT, labels.CONFIG_HASH]}
    found = invocation.client.do(container_requests.list_containers(all=options.all, filters=filters))
    names = (parse_filters(options.filter) or {}).get("name", [])
    rows: dict[str, list[ContainerSummaryDocument]] = {}
    for one in found:
        rows.setdefault(one["Labels"][labels.PROJECT], []).append(one)
    documents = [
        {"Name": name, "Status": _status(containers), "ConfigFiles": _files(containers)}
        for name, containers in sorted(rows.items())
        if not names or any(re.search(text, name) for text in names)
    ]
    if options.quiet:
        sys.stdout.writelines(f"{one['Name']}\n" for one in documents)
    elif options.format == "json":
        sys.stdout.write(_go_json(documents) + "\n")
    elif options.format in ("", "table"):
        lines = ["NAME\tSTATUS\tCONFIG FILES", *("\t".join(one.values()) for one in documents)]
        _write_table(lines, minimum=20, padding=3)
    else:
        raise CliError(f'format value "{options.format}" could not be parsed: parsing error')
    return 0


def _write_table(lines: list[str], *, minimum: int, padding: int) -> None:
    """Print lines as columns as wide as docker compose's; on a terminal as wide as it is."""
    text = "".join(f"{line}\n" for line in lines)
    if sys.stdout.isatty():
        text = fit(screen.visible(text), terminal_width(), elastic={"CONFIG FILES": _LEAST, "CMD": _LEAST})
    else:
        text = align(text, minimum=minimum, padding=padding)
    sys.stdout.write(text)


def _status(containers: list[ContainerSummaryDocument]) -> str:
    counts = Counter(str(one["State"]) for one in containers)
    return ", ".join(f"{state}({count})" for state, count in sorted(counts.items()))


def _files(containers: list[ContainerSummaryDocument]) -> str:
    found = dict.fromkeys(
        file for one in containers for file in one["Labels"].get(labels.CONFIG_FILES, "").split(",") if file
    )
    return ",".join(found) or "N/A"


def images(invocation: Invocation) -> int:
    """List the images of a project's containers."""
    from darse.image_spec.references import split
    from darse.units import human_size

    options = invocation.options
    name, project = load_or_name(invocation)
    found = _of_services(_containers(invocation, name), invocation.arguments, project)
    if options.quiet:
        identifiers = dict.fromkeys(one["ImageID"].partition(":")[2] for one in found)
        sys.stdout.writelines(f"{one}\n" for one in identifiers)
        return 0
    documents: list[dict[str, Any]] = []
    created: dict[str, str] = {}
    known: dict[str, ImageInspectDocument] = {}
    for one in found:
        identifier = one["ImageID"]
        if identifier not in known:
            known[identifier] = invocation.client.do(image_requests.inspect(identifier))
        image = known[identifier]
        reference = split((image.get("RepoTags") or [one["Image"]])[0])
        documents.append(
            {
                "ID": identifier,
                "ContainerName": one["Names"][0].removeprefix("/"),
                "Repository": reference.familiar.partition(":")[0] if not reference.tag else _repository(image, one),
                "Tag": reference.tag or "<none>",
                "Platform": "/".join(x for x in (image["Os"], image["Architecture"], image.get("Variant")) if x),
                "Size": image["Size"],
                "LastTagTime": (image.get("Metadata") or {}).get("LastTagTime", ""),
            }
        )
        created[identifier] = image.get("Created", "")
    if options.format == "json":
        sys.stdout.write(json.dumps(documents, separators=(",", ":")) + "\n")
        return 0
    if options.format not in ("", "table"):
        raise CliError(f'format value "{options.format}" could not be parsed: parsing error')
    lines = ["CONTAINER\tREPOSITORY\tTAG\tPLATFORM\tIMAGE ID\tSIZE\tCREATED"]
    for row in documents:
        cells = (row["ContainerName"], row["Repository"], row["Tag"], row["Platform"], short_id(row["ID"]))
        lines.append("\t".join([*cells, human_size(row["Size"], _DIGITS), _since(created[row["ID"]])]))
    _write_table(lines, minimum=20, padding=3)
    return 0


def _repository(image: ImageInspectDocument, container: ContainerSummaryDocument) -> str:
    return str((image.get("RepoTags") or [container["Image"]])[0]).rpartition(":")[0]


def _since(text: str) -> str:
    if not text:
        return "N/A"
    from datetime import datetime

    return ago(datetime.fromisoformat(text).timestamp())


def top(invocation: Invocation) -> int:
    """The processes of a project's containers, in one table."""
    name, project = load_or_name(invocation)
    found = _of_services(_containers(invocation, name, all_=False), invocation.arguments, project)
    titles: list[str] = []
    rows: list[tuple[str, str, dict[str, str]]] = []
    for one in found:
        answer = invocation.client.do(container_requests.top(one["Id"], ps_args=""))
        titles += [title for title in answer["Titles"] if title not in titles]
        for process in answer["Processes"] or ():
            service, index = one["Labels"].get(labels.SERVICE, ""), one["Labels"].get(labels.NUMBER, "")
            rows.append((service, index or "-", dict(zip(answer["Titles"], process, strict=False))))
    if not found:
        return 0
    lines = ["\t".join(["SERVICE", "#", *titles])]
    for service, index, cells in rows:
        lines.append("\t".join([service, index, *(cells.get(title, "-") for title in titles)]))
    _write_table(lines, minimum=4, padding=2)
    return 0


def port(invocation: Invocation) -> int:
    """The address on the host that leads to a port of a service."""
    options = invocation.options
    service, private = invocation.arguments
    if not private.isdecimal():
        raise CliError(f'invalid port: "{private}"')
    name, project = load_or_name(invocation)
    one = chosen(invocation, name, project, service, options.index)
    for binding in one["Ports"] or ():
        is_it = binding["PrivatePort"] == int(private) and binding["Type"] == options.protocol
        if is_it and binding.get("PublicPort"):
            address = binding.get("IP", "")
            shown = f"[{address}]" if ":" in address else address
            sys.stdout.write(f"{shown}:{binding['PublicPort']}\n")
            return 0
    there = ", ".join(
        f"{binding['PublicPort']}/{binding['Type']}" for binding in one["Ports"] or () if binding.get("PublicPort")
    )
    others = f": {there}" if there else ""
    raise CliError(f"no port {private}/{options.protocol} for container {one['Names'][0].removeprefix('/')}{others}")


def chosen(
    invocation: Invocation, name: str, project: Project | None, service: str, index: int | None, *, all_: bool = False
) -> ContainerSummaryDocument:
    """The container of a service that a command means: that of an index, else the first. Raises CliError."""
    found = [
        one
        for one in _of_services(_containers(invocation, name, all_=all_), [service], project)
        if not _is_one_off(one)
    ]
    if index is not None:
        found = [one for one in found if one["Labels"].get(labels.NUMBER) == str(index)]
    if not found:
        which = f" #{index}" if index is not None else ""
        raise CliError(f'service "{service}"{which} is not running')
    return min(found, key=lambda one: int(one["Labels"].get(labels.NUMBER) or 0))


def all_containers(
    invocation: Invocation, name: str, project: Project | None, service: str
) -> list[ContainerSummaryDocument]:
    """The containers of a service, of all where it is empty, by their numbers. Raises CliError for one that is none."""
    found = _of_services(_containers(invocation, name), [service] if service else [], project)
    return sorted(found, key=lambda one: int(one["Labels"].get(labels.NUMBER) or 0))


def version(invocation: Invocation) -> int:
    """The version of the command, and of docker compose's conventions that it keeps to."""
    from darse import __version__

    options = invocation.options
    if options.short:
        sys.stdout.write(f"{labels.CONVENTIONS}\n")
    elif options.format == "json":
        sys.stdout.write(json.dumps({"version": f"v{labels.CONVENTIONS}", "darse": __version__}, separators=(",", ":")))
        sys.stdout.write("\n")
    elif options.format in ("", "pretty"):
        sys.stdout.write(f"darse compose version {__version__} (as Docker Compose v{labels.CONVENTIONS})\n")
    else:
        raise CliError(f'format value "{options.format}" could not be parsed: parsing error')
    return 0


COMMANDS = {
    "compose ps": (
        Command(
            "compose ps",
            "[OPTIONS] [SERVICE...]",
            "List containers",
            (
                switch("all", "Show all stopped containers (including those created by the run command)", "a"),
                string("filter", "Filter services by a property (supported filters: status)"),
                string("format", FORMAT_HELP),
                switch("no-trunc", "Don't truncate output"),
                switch("orphans", "Include orphaned services (not declared by project)", default=True),
                switch("quiet", "Only display IDs", "q"),
                switch("services", "Display services"),
                listing("status", f"Filter services by status. Values: [{' | '.join(_STATES)}]", value="stringArray"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        processes,
    ),
    "compose ls": (
        Command(
            "compose ls",
            "[OPTIONS]",
            "List running compose projects",
            (
                switch("all", "Show all stopped Compose projects", "a"),
                listing("filter", "Filter output based on conditions provided", value="filter"),
                string("format", "Format the output. Values: [table | json]"),
                switch("quiet", "Only display project names", "q"),
                DRY_RUN,
            ),
        ),
        projects,
    ),
    "compose images": (
        Command(
            "compose images",
            "[OPTIONS] [SERVICE...]",
            "List images used by the created containers",
            (
                string("format", "Format the output. Values: [table | json]"),
                switch("quiet", "Only display IDs", "q"),
                DRY_RUN,
            ),
            maximum=None,
        ),
        images,
    ),
    "compose top": (
        Command("compose top", "[SERVICES...]", "Display the running processes", (DRY_RUN,), maximum=None),
        top,
    ),
    "compose port": (
        Command(
            "compose port",
            "[OPTIONS] SERVICE PRIVATE_PORT",
            "Print the public port for a port binding",
            (
                number("index", "Index of the container if service has multiple replicas"),
                string("protocol", "tcp or udp", default="tcp"),
                DRY_RUN,
            ),
            minimum=2,
            maximum=2,
        ),
        port,
    ),
    "compose version": (
        Command(
            "compose version",
            "[OPTIONS]",
            "Show the version of compose",
            (
                string("format", "Format the output. Values: [pretty | json]. (Default: pretty)", "f"),
                switch("short", "Shows only Compose's version number"),
                DRY_RUN,
            ),
        ),
        version,
    ),
}
