"""File systems: mounts, paths that others control, whole files, removal of trees, inotify."""
