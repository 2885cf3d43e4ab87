"""The root file system of a container: work on its files, mount targets and sources, removal."""
