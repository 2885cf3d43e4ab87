"""Tar archives of file trees, untrusted: read, unpacked below a root, rebuilt, and packed.

Most of this runs in a process of its own (`worker`), which starts for every layer: modules here import little, and
nothing from the rest of darse but `darse.linux`. The engine's side is `process`.

process, worker                     the engine's side of the process, and its own
apply_layer, extract, unpack_files  archives to files: a layer, any tree, a build's context
                                    Two make files, with one reader and the same calls, for their rules are opposite: a
                                    layer's entries replace nothing, so that tar-split metadata names files by path, and
                                    mean whiteouts; any other tree's replace what is there, below links that a
                                    container may move meanwhile
layer_diff, tar_writer              files to archives: an overlay's upper directory, any tree
tar_split, layer_record, reassemble the tar-split metadata that a layer's archive is rebuilt from, byte for byte
tar, headers, stream, entry_files   what those share
"""
