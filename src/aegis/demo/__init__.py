"""The main job: an example carried from a push to production through the public interfaces only.

It sees `core` and the HTTP client. Whatever it needs of the machine (a server process, Git, traffic) it asks of the
`Workshop` that `aegis.demo.ports` specifies.
"""
