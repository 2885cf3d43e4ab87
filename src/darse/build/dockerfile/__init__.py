"""The Dockerfile front end.

    source.py        places in a Dockerfile
    errors.py        errors that point at them
    directives.py    `# syntax=`, `# escape=`, `# check=`
    parser.py        lines to instructions: continuation, comments, flags, JSON, here-documents
    words.py         quoting and variables, as in a shell
    instructions.py  the instructions as structs
    interpret.py     from what the parser gives to those structs, and to stages

The language is that of the current reference (`frontend/dockerfile/docs/reference.md` of BuildKit), and error texts are
BuildKit's, because scripts match them. Beyond BuildKit, every token knows its line and column.
"""

from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.interpret import Stages, interpret
from darse.build.dockerfile.parser import ParsedDockerfile, ParsedInstruction, parse

__all__ = ["DockerfileError", "ParsedDockerfile", "ParsedInstruction", "Stages", "interpret", "parse"]
