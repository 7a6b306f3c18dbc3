"""Aegis carries a change from commit to production and proves it."""

__version__ = "0.1.0"
