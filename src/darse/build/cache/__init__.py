"""The build cache on this engine: its records in the engine's database."""

from darse.build.cache.storage import SCHEMA, DatabaseCacheStorage

__all__ = ["SCHEMA", "DatabaseCacheStorage"]
