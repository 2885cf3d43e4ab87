"""What commands print: rows, tables, `--format`, progress, sizes, whole files."""
