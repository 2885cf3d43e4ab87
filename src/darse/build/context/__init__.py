"""Trees of files on this engine: the digests of their content.

Everything here reads what containers, archives and clients wrote: no name in it is trusted, and no link leads out.
"""

from darse.build.context.content_digest import KnownContents, content_digest
from darse.build.context.wildcards import PathNotFound

__all__ = ["KnownContents", "PathNotFound", "content_digest"]
