"""Recorded feeds: what went over a feed's connections, both ways, with its times, in a file that outlives whoever wrote it.

``format`` says what the bytes are, ``stream`` brings them to disk and back, ``scrub`` keeps secrets out, ``reading`` and
``connections`` say what a record holds. The rule: it knows what a frame is, and nothing of who records or replays.
"""
