"""Pull and push: resolving, mirrors, layer transfers, progress."""
