"""The doors: HTTP translated into commands and queries, nothing decided."""
