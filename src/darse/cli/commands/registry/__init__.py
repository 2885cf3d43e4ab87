"""Commands that ask registries: log in, search, and manifests by hand."""
