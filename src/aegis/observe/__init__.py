"""Metrics and DORA figures, read from the ledger."""
