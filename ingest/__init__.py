"""Bring WebSocket feeds into Dramatiq queues: the supervisor's side.

What a user's session needs is here; everything else is reached through ``python -m ingest``::

    server ─▶ connection ─▶ session ─▶ backlog ═▶ publisher ─▶ Redis ─▶ any Dramatiq worker

The rule: importing this package connects to nothing and reads no settings.
"""

from ingest.connection.session import Emit, Fail, Session, Skip, To

__all__ = ["Session", "Emit", "To", "Skip", "Fail"]
