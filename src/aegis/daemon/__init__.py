"""Processes, loops and supervision: what keeps a server going."""
