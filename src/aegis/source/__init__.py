"""Repositories and their changes: branches, merge requests, versions, changelogs and releases."""
