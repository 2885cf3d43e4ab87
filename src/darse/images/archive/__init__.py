"""Image archives (`docker save`, OCI layout): reading, loading, saving."""
