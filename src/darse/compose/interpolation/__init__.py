"""Variables in compose files: `template` replaces them in a text, `document` in all texts of a file."""
