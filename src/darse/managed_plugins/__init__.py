"""Managed plugins: programs that come from registries as images do, and run as containers that no list shows.

Vocabulary (moby's)

    config      what a plugin's image says of it: what it implements, which program it is, what of the host it asks for
    privilege   something of that which a user grants at the installation
    settings    values of the config that a user may change while the plugin is disabled
    enabled     its container runs: after an end, and with each start of the engine, before whoever may need it
    propagated  a directory of the plugin whose mounts appear on the host: where its volumes are

Life cycle: installed (disabled) ⇄ enabled; a removal, an upgrade and a setting need a disabled one.
"""

from darse.managed_plugins.service import ManagedPlugins

__all__ = ["ManagedPlugins"]
