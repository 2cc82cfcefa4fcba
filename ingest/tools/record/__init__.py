"""`python -m ingest record`: a feed's connections written to a file, as the supervisor would make them, without a queue.

The rule: secrets are masked before anything is written; whatever ends the recording, what the file holds by then can be read.
"""
