"""Running OCI bundles: the spec, conmon, the OCI runtime and cgroups."""
