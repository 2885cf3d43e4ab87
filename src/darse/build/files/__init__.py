"""Changes of files in trees: what the actions of a file operation do on a disk.

    modes.py           `u=rwX,go-w` and octal modes
    rooted_paths.py    paths in a tree: found, and made, without leaving it
    copy.py            copies of files and trees
    changes.py         one action
    groups.py          which actions of an operation change which tree
    worker.py          a group of actions in a confined process

Trees are given by descriptors of their roots, and both trees are untrusted: every path is resolved by the kernel within
its root, nothing is written through a link, a fifo or a device. Nobody else may change the trees meanwhile. Calls
block; whoever unpacks archives (`ADD`) runs them in a process that is confined: decoders read what anybody wrote.
"""

from darse.build.files.changes import apply_change

__all__ = ["apply_change"]
