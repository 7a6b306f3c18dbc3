"""What a page, an API or a command reads: frozen views, and the two protocols that the doors are given.

Views hold values ready to show, never anything to decide with. Times are UTC; a view says the ledger sequence
number (`seq`) that it reflects.
"""

from aegis.delivery.views.asked import Commands, Credentials, Queries, Sessions, Stream
from aegis.delivery.views.shown import (
    Actor,
    AtView,
    Cause,
    Cell,
    HistoryLine,
    HomeView,
    InboxEntry,
    JobEnvironment,
    JobInputs,
    JobView,
    MergeRequestView,
    PromotionView,
    ReleaseView,
    Result,
    RolloutPoint,
    RolloutView,
    RunInputs,
    RunSummary,
    RunView,
    StatusLine,
    StatusView,
    TraceChunk,
)

__all__ = [
    "Actor",
    "AtView",
    "Cause",
    "Cell",
    "Commands",
    "Credentials",
    "HistoryLine",
    "HomeView",
    "InboxEntry",
    "JobEnvironment",
    "JobInputs",
    "JobView",
    "MergeRequestView",
    "PromotionView",
    "Queries",
    "ReleaseView",
    "Result",
    "RolloutPoint",
    "RolloutView",
    "RunInputs",
    "RunSummary",
    "RunView",
    "Sessions",
    "StatusLine",
    "StatusView",
    "Stream",
    "TraceChunk",
]
