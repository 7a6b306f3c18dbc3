"""What runs before and around every step: its world, its rights, its network, its end.

Started as `python -I -S`, so standard library only, and of that only what is quick to load: pathlib, json, enum, socket or typing
would cost each step more than all its mounts. It decides nothing: one request says it all.
"""
