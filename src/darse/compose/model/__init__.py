"""The typed model: `project` at its top, `service` with its parts, `quantities` for sizes, times and the like."""
