"""Carries out a plan: status, schedule, supervision, runners, workspaces, traces and caches."""
