"""The executor of builds on this engine: it does what `solver.operation_executor` asks, with snapshots and processes.

executor            sources, operations and snapshots, for one build's session
processes           RUN, in transient containers
trees               snapshots as directories
linking             trees of hard links, for what need not be copied
differences         what an upper layer has changed of a tree
images, git, http   sources
unpacking           archives that ADD brings
cache_directories   cache mounts
agents              SSH agents as sockets
contexts            local sources, as who receives them offers them
session             what one build brings along
"""

from darse.build.executor.contexts import KnownContexts, LocalContexts, NoContexts
from darse.build.executor.executor import EngineExecutor
from darse.build.executor.session import AgentConnections, BuildSession, NoAgents, StepLimits

__all__ = [
    "AgentConnections",
    "BuildSession",
    "EngineExecutor",
    "KnownContexts",
    "LocalContexts",
    "NoAgents",
    "NoContexts",
    "StepLimits",
]
