"""Events to whom they concern: log, subscribers, Sentry; one sink a file.

The rule: a sink that fails or dawdles hurts nobody, neither the feeds nor the other sinks.
"""
