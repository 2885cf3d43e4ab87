"""The API's JSON documents as types: what the blocking client's answers are, and the bodies that it takes.

They are for type checkers alone, so that a command loads none of them: `if TYPE_CHECKING`. Each has the name and the
members of a struct of `darse.wire` (a test compares them); none is required, as engines of other versions may leave it
out.
"""
