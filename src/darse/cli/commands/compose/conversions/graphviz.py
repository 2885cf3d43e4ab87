"""`darse compose alpha viz`: the services as a graph in the language of Graphviz."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, number, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.flags import DRY_RUN
from darse.cli.commands.compose.projects import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.compose.model.project import Project


def viz(invocation: Invocation) -> int:
    """Print the graph."""
    options = invocation.options
    width = 1 if options.indentation_size is None else options.indentation_size
    indent = (" " if options.spaces else "\t") * width
    project = load(invocation, [])
    lines = [f'digraph "{project.name}" {{', f"{indent}layout=dot;"]
    lines += [
        f"{indent}{_node(project, name, networks=options.networks, ports=options.ports, image=options.image)}"
        for name in sorted(project.services)
    ]
    lines.append("")
    lines += [
        f'{indent}"{name}" -> "{other}";'
        for name, service in sorted(project.services.items())
        for other in sorted(service.depends_on)
    ]
    sys.stdout.write("\n".join([*lines, "}"]) + "\n\n")
    return 0


def _node(project: Project, name: str, *, networks: bool, ports: bool, image: bool) -> str:
    from darse.compose.desired.endpoints import by_priority
    from darse.compose.desired.names import image_name

    service = project.services[name]
    text = f'<font point-size="15">{name}</font>'
    if networks and service.networks:
        text += _part("Networks", by_priority(service))
    if ports and service.ports:
        addresses = [
            f"{f'{port.host_ip}:' if port.host_ip else ''}{port.published}:{port.target} ({port.protocol}, {port.mode})"
            for port in service.ports
        ]
        text += _part("Ports", addresses)
    if image:
        text += _part("Image", [image_name(project, name)])
    return f'"{name}" [style="filled" label=<{text}>];'


def _part(heading: str, lines: list[str]) -> str:
    body = "".join(f"<br/>{line}" for line in lines)
    return f'<font point-size="10"><br/><br/><b>{heading}:</b>{body}</font>'


COMMANDS = {
    "compose alpha viz": (
        Command(
            "compose alpha viz",
            "[OPTIONS]",
            "Generate a graphviz graph from your compose file",
            (
                switch("image", "Include service's image name in output graph"),
                number("indentation-size", "Number of tabs or spaces to use for indentation", default=1),
                switch("networks", "Include service's attached networks in output graph"),
                switch("ports", "Include service's exposed ports in output graph"),
                switch("spaces", "If given, space character ' ' will be used to indent, otherwise tab"),
                DRY_RUN,
            ),
        ),
        viz,
    )
}
