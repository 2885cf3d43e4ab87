"""Tar archives of file trees, as strangers write them: read, unpacked below a root, rebuilt, and packed.

Most of this runs in a process of its own (`worker`), which starts for every layer: modules here import little, and
nothing from the rest of darse but `darse.linux`. The engine's side is `process`.
"""
