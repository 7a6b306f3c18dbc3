"""The built-in runner: an asynchronous client of `JobSource` that works as many jobs at once as it may.

It decides when to ask for jobs and when to stop asking. What happens within one job is `supervise.job`'s.
"""

from aegis.execution.supervise.supervisor import Supervisor
from aegis.execution.supervise.tools import Tools

__all__ = ["Supervisor", "Tools"]
