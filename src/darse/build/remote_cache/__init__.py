"""Caches of builds that are elsewhere: in a registry, in an image, in a directory of the client.

formats     BuildKit's documents of caches, read and written
places      what `--cache-from` and `--cache-to` name
importing   results that other builds have left
exporting   results that other builds may use
"""

from darse.build.remote_cache.cache_options import CacheOptions, parse_cache_options
from darse.build.remote_cache.exporting import CacheExports, ExportedCache, results_of
from darse.build.remote_cache.importing import CacheImports

__all__ = ["CacheExports", "CacheImports", "CacheOptions", "ExportedCache", "parse_cache_options", "results_of"]
