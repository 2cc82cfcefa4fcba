"""The one broker that both kinds of process share, and what it keeps in Redis.

The rule: nothing of `settings` but the wire format is imported, so that any team can put `RateLimitedBroker` into its own app.
"""

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.limits import Limits

__all__ = ["Limits", "RateLimitedBroker"]
