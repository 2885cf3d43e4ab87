"""The Compose Specification's schema, and the check of a document against it.

`compose-spec.json` is that of the specification (https://github.com/compose-spec/compose-spec, Apache-2.0), unchanged.
"""
