# ruff: noqa: N802 - methods of rows are named as the placeholders
"""`context`: engines by name."""

from __future__ import annotations

import os
import sys
from typing import Any, ClassVar

from darse.cli.command_line.flags import Command, listing, string, switch, usage_error
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.output.format import FORMAT_HELP, INSPECT_FORMAT_HELP, Row, write
from darse.cli.output.inspect import Found
from darse.cli.output.inspect import inspect as print_objects
from darse.cli.output.table import ellipsis
from darse.cli.settings import config_file
from darse.cli.settings.config import DEFAULT_CONTEXT
from darse.cli.settings.contexts import DEFAULT_DESCRIPTION, TLS_FILES, Context, Contexts, check_name
from darse.client.ssh import ssh_address
from darse.natural_order import natural

_HEADINGS = {"Name": "NAME", "Description": "DESCRIPTION", "DockerEndpoint": "DOCKER ENDPOINT", "Error": "ERROR"}
_TABLE = "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
_KEYS = ("from", "host", "ca", "cert", "key", "skip-tls-verify")
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False", "")


class ContextRow(Row):
    """A context in a list."""

    GO_NAME: ClassVar[str] = "*formatter.clientContextContext"

    def Current(self) -> bool:
        return bool(self.document["Current"])

    def Name(self) -> str:
        return str(self.document["Name"])

    def Description(self) -> str:
        return ellipsis(self.document["Description"], 60)

    def DockerEndpoint(self) -> str:
        return str(self.document["DockerEndpoint"])

    def Error(self) -> str:
        return ellipsis(self.document["Error"], 45)


def list_contexts(invocation: Invocation) -> int:
    """Print all contexts, and the one that is used although it does not exist."""
    options, contexts = invocation.options, Contexts(invocation.settings)
    current = invocation.settings.context_name()
    rows = []
    for name in sorted({*contexts.names(), current}, key=natural):
        try:
            context = contexts.get(name)
        except CliError as error:
            described = {"Description": "", "DockerEndpoint": "", "Error": str(error)}
        else:
            description = DEFAULT_DESCRIPTION if name == DEFAULT_CONTEXT else context.description
            described = {"Description": description, "DockerEndpoint": context.endpoint.get("Host", ""), "Error": ""}
        rows.append(ContextRow({"Name": name, "Current": name == current, **described}))
    source = options.format
    if source in ("", "table"):
        source = "{{.Name}}" if options.quiet else _TABLE
    write(source, rows, _HEADINGS, may_fit=not options.format)
    variable = invocation.settings.host_variable()
    if variable and not options.quiet and not invocation.settings.context:
        sys.stderr.write(
            f"Warning: {variable} environment variable overrides the active context. To use a context, either set the "
            f"global --context flag, or unset {variable} environment variable.\n"
        )
    return 0


def show(invocation: Invocation) -> int:
    """Print the name of the context in use."""
    sys.stdout.write(f"{invocation.settings.context_name()}\n")
    return 0


def use(invocation: Invocation) -> int:
    """Use a context from now on."""
    name, settings = invocation.arguments[0], invocation.settings
    if name != DEFAULT_CONTEXT:
        Contexts(settings).get(name)
    _set_current(invocation, name)
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f'Current context is now "{name}"\n')
    variable = settings.host_variable()
    if variable and name != DEFAULT_CONTEXT:
        sys.stderr.write(
            f'Warning: {variable} environment variable overrides the active context. To use "{name}", either set the '
            f"global --context flag, or unset {variable} environment variable.\n"
        )
    return 0


def _set_current(invocation: Invocation, name: str) -> None:
    def edit(document: dict[str, Any]) -> None:
        document.pop("currentContext", None)
        if name != DEFAULT_CONTEXT:
            document["currentContext"] = name

    if name != DEFAULT_CONTEXT or invocation.settings.file.get("currentContext"):
        invocation.settings.replace_file(config_file.change(invocation.settings.directory, edit))


def create(invocation: Invocation) -> int:
    """Make a context: of flags, of another one, or of the one in use."""
    options, contexts = invocation.options, Contexts(invocation.settings)
    [name] = invocation.arguments
    given = _endpoint_options(invocation)
    check_name(name)
    if contexts.exists(name):
        raise CliError(f'context "{name}" already exists')
    description = options.description or None
    if given and options.from_:
        raise CliError("cannot use --docker flag when --from is set")
    if given:
        endpoint, tls = _endpoint(contexts, given)
        made = Context(name, {}, {}).changed(name, description=description, endpoint=endpoint, tls=tls)
    else:
        source = contexts.get(options.from_ or invocation.settings.context_name())
        if source.name == DEFAULT_CONTEXT and description is None:
            description = DEFAULT_DESCRIPTION
        made = source.changed(name, description=description)
    contexts.save(made)
    return _done(name, "created")


def update(invocation: Invocation) -> int:
    """Change a context's description or endpoint."""
    options, contexts = invocation.options, Contexts(invocation.settings)
    [name] = invocation.arguments
    given = _endpoint_options(invocation)
    check_name(name)
    context = contexts.get(name)
    endpoint, tls = _endpoint(contexts, given) if given else (None, None)
    contexts.save(context.changed(name, description=options.description or None, endpoint=endpoint, tls=tls))
    return _done(name, "updated")


def _done(name: str, what: str) -> int:
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f'Successfully {what} context "{name}"\n')
    return 0


def _endpoint_options(invocation: Invocation) -> dict[str, str]:
    """`--docker key=value,key=value`. Raises CliError."""
    found = {}
    for entry in invocation.options.docker:
        for pair in entry.split(","):
            key, equals, value = pair.partition("=")
            if not equals:
                command = COMMANDS[invocation.path][0]
                raise usage_error(
                    command, f'invalid argument "{entry}" for "--docker" flag: {pair} must be formatted as key=value'
                )
            found[key] = value
    return found


def _endpoint(contexts: Contexts, given: dict[str, str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The endpoint that options describe, and its certificates. Raises CliError."""
    try:
        return _described(contexts, given)
    except CliError as error:
        raise CliError(f"unable to create docker endpoint config: {error}") from error


def _described(contexts: Contexts, given: dict[str, str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    unknown = [key for key in given if key not in _KEYS]
    if unknown:
        raise CliError(f"unrecognized config key: {unknown[0]}")
    if "from" in given:
        source = contexts.get(given["from"])
        return source.endpoint, source.tls
    skip = given.get("skip-tls-verify", "")
    if skip not in _TRUE + _FALSE:
        raise CliError(f'skip-tls-verify: parsing "{skip}": invalid syntax')
    keys = [(key, name) for key, name in zip(("ca", "cert", "key"), TLS_FILES, strict=True) if given.get(key)]
    tls = {name: _content(given[key]) for key, name in keys}
    if "ca.pem" in tls and b"-----BEGIN CERTIFICATE-----" not in tls["ca.pem"]:
        raise CliError("invalid docker endpoint options: failed to retrieve context tls info: ca.pem seems invalid")
    host = given.get("host", "")
    if host and "://" not in host:
        raise CliError(f"unable to apply docker endpoint options: unable to parse docker host `{host}`")
    if host.startswith("ssh://"):
        try:
            ssh_address(host.removeprefix("ssh://"))
        except CliError as error:
            raise CliError(f"invalid docker endpoint options: {error}") from error
    host = host or contexts.get(DEFAULT_CONTEXT).endpoint["Host"]
    return {"Host": host, "SkipTLSVerify": skip in _TRUE}, tls


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or str(error)).lower()}") from error


def remove(invocation: Invocation) -> int:
    """Forget contexts, but not the one in use unless forced."""
    force, contexts = invocation.options.force, Contexts(invocation.settings)
    current = invocation.settings.context_name()
    errors = []
    for name in invocation.arguments:
        try:
            _remove(invocation, contexts, name, in_use=name == current, force=force)
        except CliError as error:
            errors.append(str(error))
        else:
            sys.stdout.write(f"{name}\n")
    if errors:
        raise CliError("\n".join(errors))
    return 0


def _remove(invocation: Invocation, contexts: Contexts, name: str, *, in_use: bool, force: bool) -> None:
    if name == DEFAULT_CONTEXT:
        raise CliError('context "default" cannot be removed')
    if in_use:
        if not force:
            raise CliError(f'context "{name}" is in use, set -f flag to force remove')
        _set_current(invocation, DEFAULT_CONTEXT)
    if not force and not contexts.exists(name):
        raise CliError(f'context "{name}" does not exist')
    contexts.remove(name)


def inspect(invocation: Invocation) -> int:
    """Print contexts, of which the one in use where none is named."""
    contexts = Contexts(invocation.settings)

    def get(name: str) -> Found:
        context = contexts.get(name)
        is_stored = name != DEFAULT_CONTEXT
        storage = {
            "MetadataPath": contexts.meta_path(name) if is_stored else "<IN MEMORY>",
            "TLSPath": contexts.tls_path(name) if is_stored else "<IN MEMORY>",
        }
        tls = {"docker": sorted(context.tls)} if context.tls else {}
        return Found({**context.meta, "TLSMaterial": tls, "Storage": storage}, "")

    return print_objects(invocation.arguments or [invocation.settings.context_name()], invocation.options.format, get)


def export(invocation: Invocation) -> int:
    """Write a context to a file, which must not be there, or to standard output."""
    from darse.cli.settings.context_archives import pack

    name, *rest = invocation.arguments
    content = pack(Contexts(invocation.settings).get(name))
    path = rest[0] if rest else f"{name}.dockercontext"
    if path == "-":
        if sys.stdout.isatty():
            raise CliError("cowardly refusing to export to a terminal, specify a file path")
        sys.stdout.buffer.write(content)
        return 0
    try:
        # It may have a private key.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or str(error)).lower()}") from error
    sys.stderr.write(f'Written file "{path}"\n')
    return 0


def import_(invocation: Invocation) -> int:
    """Take a context over from a file, or from standard input."""
    from darse.cli.settings.context_archives import unpack

    name, path = invocation.arguments
    contexts = Contexts(invocation.settings)
    check_name(name)
    if contexts.exists(name):
        raise CliError(f'context "{name}" already exists')
    content = sys.stdin.buffer.read() if path == "-" else _content(path)
    contexts.save(unpack(name, content))
    return _done(name, "imported")


_ENDPOINT_HELP = """

Docker endpoint config:

NAME                DESCRIPTION
from                Copy named context's endpoint configuration, with its certificates
host                Endpoint on which to connect: unix://, tcp://, ssh://
ca                  Trust certs signed only by this CA
cert                Path to TLS certificate file
key                 Path to TLS key file
skip-tls-verify     Skip TLS certificate validation"""
_DOCKER = listing("docker", "set the docker endpoint (default [])", value="stringToString")
COMMANDS = {
    "context create": (
        Command(
            "context create",
            "[OPTIONS] CONTEXT",
            f"Create a context{_ENDPOINT_HELP}",
            (
                string("description", "Description of the context"),
                _DOCKER,
                string("from", "create context from a named context"),
            ),
            1,
            1,
            examples="darse context create far --docker host=ssh://me@far\n"
            "darse context create lab --docker host=tcp://lab:2376,ca=ca.pem,cert=cert.pem,key=key.pem",
        ),
        create,
    ),
    "context export": (
        Command(
            "context export",
            "[OPTIONS] CONTEXT [FILE|-]",
            "Export a context to a tar archive FILE or a tar stream on STDOUT.",
            (),
            1,
            2,
        ),
        export,
    ),
    "context import": (
        Command("context import", "CONTEXT FILE|-", "Import a context from a tar or zip file", (), 2, 2),
        import_,
    ),
    "context inspect": (
        Command(
            "context inspect",
            "[OPTIONS] [CONTEXT] [CONTEXT...]",
            "Display detailed information on one or more contexts",
            (string("format", INSPECT_FORMAT_HELP, "f"),),
            0,
            None,
        ),
        inspect,
    ),
    "context ls": (
        Command(
            "context ls",
            "[OPTIONS]",
            "List contexts",
            (string("format", FORMAT_HELP), switch("quiet", "Only show context names", "q")),
        ),
        list_contexts,
    ),
    "context rm": (
        Command(
            "context rm",
            "CONTEXT [CONTEXT...]",
            "Remove one or more contexts",
            (switch("force", "Force the removal of a context in use", "f"),),
            1,
            None,
        ),
        remove,
    ),
    "context show": (Command("context show", "", "Print the name of the current context"), show),
    "context update": (
        Command(
            "context update",
            "[OPTIONS] CONTEXT",
            f"Update a context{_ENDPOINT_HELP}",
            (string("description", "Description of the context"), _DOCKER),
            1,
            1,
        ),
        update,
    ),
    "context use": (Command("context use", "CONTEXT", "Set the current context", (), 1, 1), use),
}
