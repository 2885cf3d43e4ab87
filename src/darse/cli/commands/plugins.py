"""Commands about managed plugins: what asks to be granted something asks the user before."""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator

from darse.cli.command_line.flags import Command, listing, number, parse_filters, string, switch
from darse.cli.command_line.invocation import Invocation, confirm
from darse.cli.errors import CliError
from darse.cli.output.format import FORMAT_HELP, INSPECT_FORMAT_HELP, write
from darse.cli.output.inspect import Found
from darse.cli.output.inspect import inspect as print_objects
from darse.cli.output.plugin_rows import HEADINGS, PluginRow
from darse.cli.output.progress import display
from darse.cli.settings import credentials
from darse.client.requests import plugins
from darse.image_spec import references
from darse.natural_order import natural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.plugins import PluginPrivilegeDocument

_TABLE = "table {{.ID}}\t{{.Name}}\t{{.Description}}\t{{.Enabled}}"
_PIECE = 256 * 1024
# How long the engine waits for a plugin that was installed, in seconds.
_START_SECONDS = 30


def list_plugins(invocation: Invocation) -> int:
    """Print the plugins."""
    options = invocation.options
    found = invocation.client.do(plugins.list_plugins(filters=parse_filters(options.filter)))
    source = options.format
    if source in ("", "table"):
        source = "{{.ID}}" if options.quiet else _TABLE
    rows = (
        PluginRow(one, truncate=not options.no_trunc) for one in sorted(found, key=lambda one: natural(one["Name"]))
    )
    write(source, rows, HEADINGS, may_fit=source == _TABLE)
    return 0


def inspect(invocation: Invocation) -> int:
    """Print plugins in detail."""

    def get(name: str) -> Found:
        return Found(invocation.client.do(plugins.inspect(name)), "types.Plugin")

    return print_objects(invocation.arguments, invocation.options.format, get)


def _granted(invocation: Invocation, remote: str, registry_auth: str, *, ask: bool) -> list[PluginPrivilegeDocument]:
    """What a plugin asks for, when the user grants it. Raises CliError."""
    privileges = invocation.client.do(plugins.privileges(remote, credentials=registry_auth)) or []
    if privileges and ask:
        sys.stdout.write(f'Plugin "{remote}" is requesting the following privileges:\n')
        for one in privileges:
            sys.stdout.write(f" - {one['Name']}: [{' '.join(one['Value'] or ())}]\n")
        if not confirm("Do you grant the above permissions?"):
            raise CliError("permission denied while installing plugin")
    return privileges


def _auth(invocation: Invocation, remote: str) -> str:
    return credentials.registry_auth(invocation.settings, references.parse(remote).domain)


def install(invocation: Invocation) -> int:
    """Install a plugin, and enable it."""
    options = invocation.options
    remote, *words = invocation.arguments
    name, auth = options.alias or remote, _auth(invocation, remote)
    granted = _granted(invocation, remote, auth, ask=not options.grant_all_permissions)
    display(invocation.client.open(plugins.pull(remote, granted, name=name, credentials=auth)).messages())
    if words:
        invocation.client.do(plugins.configure(name, words))
    if not options.disable:
        invocation.client.do(plugins.enable(name, timeout=_START_SECONDS))
    sys.stdout.write(f"Installed plugin {remote}\n")
    return 0


def upgrade(invocation: Invocation) -> int:
    """Replace the image of a plugin."""
    name, *rest = invocation.arguments
    plugin = invocation.client.do(plugins.inspect(name))
    if plugin["Enabled"]:
        raise CliError("the plugin must be disabled before upgrading")
    remote = rest[0] if rest else plugin["PluginReference"]
    if not invocation.options.skip_remote_check and _bare(remote) != _bare(plugin["PluginReference"]):
        text = f"Plugin images do not match, are you sure? {plugin['PluginReference']} becomes {remote}"
        if not confirm(text):
            raise CliError("plugin upgrade has been cancelled")
    auth = _auth(invocation, remote)
    granted = _granted(invocation, remote, auth, ask=not invocation.options.grant_all_permissions)
    display(invocation.client.open(plugins.upgrade(name, remote, granted, credentials=auth)).messages())
    sys.stdout.write(f"Upgraded plugin {name} to {remote}\n")
    return 0


def _bare(reference: str) -> str:
    return references.parse(reference).name


def enable(invocation: Invocation) -> int:
    """Start plugins."""
    timeout = invocation.options.timeout
    return invocation.for_each(lambda name: invocation.client.do(plugins.enable(name, timeout=timeout)))


def disable(invocation: Invocation) -> int:
    """Stop plugins."""
    force = invocation.options.force
    return invocation.for_each(lambda name: invocation.client.do(plugins.disable(name, force=force)))


def remove(invocation: Invocation) -> int:
    """Remove plugins."""
    force = invocation.options.force
    return invocation.for_each(lambda name: invocation.client.do(plugins.remove(name, force=force)))


def set_plugin(invocation: Invocation) -> int:
    """Change settings of a plugin."""
    name, *words = invocation.arguments
    invocation.client.do(plugins.configure(name, words))
    return 0


def push(invocation: Invocation) -> int:
    """Push a plugin."""
    (name,) = invocation.arguments
    display(invocation.client.open(plugins.push(name, credentials=_auth(invocation, name))).messages())
    return 0


def create(invocation: Invocation) -> int:
    """Make a plugin of a directory with `config.json` and `rootfs`, and print its name."""
    name, directory = invocation.arguments
    for needed, exists in (("config.json", os.path.isfile), ("rootfs", os.path.isdir)):
        if not exists(os.path.join(directory, needed)):
            raise CliError(
                f"{directory} has no {needed}: a plugin is made of a file config.json and a directory rootfs"
            )
    archive = _archive(directory, compress=invocation.options.compress)
    invocation.client.open(plugins.create(name, archive)).close()
    sys.stdout.write(f"{name}\n")
    return 0


def _archive(directory: str, *, compress: bool) -> Iterator[bytes]:
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w:gz" if compress else "w") as archive:
            for name in ("config.json", "rootfs"):
                archive.add(os.path.join(directory, name), name)
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece


_GRANT = switch("grant-all-permissions", "Grant all permissions necessary to run the plugin")
_TRUST = switch("disable-content-trust", "Skip image verification", default=True)
COMMANDS = {
    "plugin create": (
        Command(
            "plugin create",
            "[OPTIONS] PLUGIN PLUGIN-DATA-DIR",
            "Create a plugin from a rootfs and configuration. Plugin data directory must contain config.json and "
            "rootfs directory.",
            (switch("compress", "Compress the context using gzip"),),
            2,
            2,
        ),
        create,
    ),
    "plugin disable": (
        Command(
            "plugin disable",
            "[OPTIONS] PLUGIN",
            "Disable a plugin",
            (switch("force", "Force the disable of an active plugin", "f"),),
            1,
            1,
        ),
        disable,
    ),
    "plugin enable": (
        Command(
            "plugin enable",
            "[OPTIONS] PLUGIN",
            "Enable a plugin",
            (number("timeout", "HTTP client timeout (in seconds)", default=30),),
            1,
            1,
        ),
        enable,
    ),
    "plugin inspect": (
        Command(
            "plugin inspect",
            "[OPTIONS] PLUGIN [PLUGIN...]",
            "Display detailed information on one or more plugins",
            (string("format", INSPECT_FORMAT_HELP, "f"),),
            1,
            None,
        ),
        inspect,
    ),
    "plugin install": (
        Command(
            "plugin install",
            "[OPTIONS] PLUGIN [KEY=VALUE...]",
            "Install a plugin",
            (
                string("alias", "Local name for plugin"),
                switch("disable", "Do not enable the plugin on install"),
                _TRUST,
                _GRANT,
            ),
            1,
            None,
        ),
        install,
    ),
    "plugin ls": (
        Command(
            "plugin ls",
            "[OPTIONS]",
            "List plugins",
            (
                listing("filter", 'Provide filter values (e.g. "enabled=true")', "f", "filter"),
                string("format", FORMAT_HELP),
                switch("no-trunc", "Don't truncate output"),
                switch("quiet", "Only display plugin IDs", "q"),
            ),
        ),
        list_plugins,
    ),
    "plugin push": (
        Command("plugin push", "[OPTIONS] PLUGIN[:TAG]", "Push a plugin to a registry", (_TRUST,), 1, 1),
        push,
    ),
    "plugin rm": (
        Command(
            "plugin rm",
            "[OPTIONS] PLUGIN [PLUGIN...]",
            "Remove one or more plugins",
            (switch("force", "Force the removal of an active plugin", "f"),),
            1,
            None,
        ),
        remove,
    ),
    "plugin set": (
        Command("plugin set", "PLUGIN KEY=VALUE [KEY=VALUE...]", "Change settings for a plugin", (), 2, None),
        set_plugin,
    ),
    "plugin upgrade": (
        Command(
            "plugin upgrade",
            "[OPTIONS] PLUGIN [REMOTE]",
            "Upgrade an existing plugin",
            (
                _TRUST,
                _GRANT,
                switch("skip-remote-check", "Do not check if specified remote plugin matches existing plugin image"),
            ),
            1,
            2,
        ),
        upgrade,
    ),
}
