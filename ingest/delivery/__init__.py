"""From a payload to a queue: the way of every message from the thread that reads to the thread that publishes.

::

    Intake ─ numbers ─▶ Envelope ─ bytes ─▶ Backlog ═══ Publisher ─ calls ─▶ a line to the broker
                                                            │ ▲
                                                    answers ▼ actions
                                                         PublisherCore

The rule: nothing here knows sockets or Redis; what goes out goes through the line that is passed in.
"""
