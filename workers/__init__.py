"""The processor processes: ``dramatiq workers`` imports this module and finds telemetry, broker and actors in place.

The rule: only inside the ``dramatiq`` command does the import start anything, and only where no broker has been set; elsewhere
(a web process that sends messages, a test, an application with a broker of its own) it gives `frame_actor` and `current_frame`,
and nothing else happens.
"""

from __future__ import annotations

import sys

import dramatiq.broker

from workers.origin import claim_settings, exit_with

# Before anything else, because everything else imports `settings`.
claim_settings()

from workers.actors import frame_actor  # noqa: E402 - settings first, see above
from workers.middleware.frame_context import current_frame  # noqa: E402

__all__ = ["current_frame", "frame_actor"]

# Dramatiq's command-line module says which command this process runs, whatever started it.
if "dramatiq.cli" in sys.modules and dramatiq.broker.global_broker is None:
    from workers.startup import StartFailed, start

    try:
        start()
    except StartFailed as problem:
        exit_with(str(problem))
