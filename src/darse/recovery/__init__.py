"""What survives a crash or a lost database: backups, record files, orphans, reserved space, checks at start-up."""
