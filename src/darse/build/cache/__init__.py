"""The build cache on this engine: its records in the engine's database."""

from darse.build.cache.database_storage import DatabaseCacheStorage
from darse.build.tables import SCHEMA

__all__ = ["SCHEMA", "DatabaseCacheStorage"]
