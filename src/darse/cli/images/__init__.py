"""Image references and platforms as users write them, and manifest lists."""
