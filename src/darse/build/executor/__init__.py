"""The executor of builds on this engine: does what `darse.build.solver.executor` asks, with snapshots and processes.

contexts    local sources, as who receives them offers them
session     what one build brings along
"""

from darse.build.executor.contexts import KnownContexts, LocalContexts, NoContexts
from darse.build.executor.session import AgentConnections, BuildSession, StepLimits

__all__ = ["AgentConnections", "BuildSession", "KnownContexts", "LocalContexts", "NoContexts", "StepLimits"]
