"""The `darse` command. Talks HTTP only; imports nothing of the engine but its wire types."""

import gc

# New objects after which the youngest are looked through for garbage. A command's life is mostly its imports, and what
# is imported stays: a twentieth of the time of `ps`, and a tenth of that of `compose config`, was spent on looking. It
# is set here, as most is imported before `entry.main`.
gc.set_threshold(20_000)
