"""The builds that were: when, of what, what each step took, what it said, and why it was or was not in the cache.

recorder   takes a build's events, and becomes a record at its end
store      the newest records, in the engine's database
attachments  what belongs to a build beside its record, for clients of BuildKit
service    what the API asks: lists, logs, explanations
causes     why steps were executed: from a record and those before it
changes    which files of a source changed, as far as both its trees are still there
"""

from darse.build.history.attachments import AttachmentCollector, Attachments
from darse.build.history.recorder import BuildRecorder
from darse.build.history.records import BuildRecord, BuildState, BuildSummary, StepLog, StepRecord, StepState
from darse.build.history.service import BuildHistoryService, ExplainedStep, Explanation
from darse.build.history.store import BuildHistory

__all__ = [
    "AttachmentCollector",
    "Attachments",
    "BuildHistory",
    "BuildHistoryService",
    "BuildRecord",
    "BuildRecorder",
    "BuildState",
    "BuildSummary",
    "ExplainedStep",
    "Explanation",
    "StepLog",
    "StepRecord",
    "StepState",
]
