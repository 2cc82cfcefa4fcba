"""`python -m ingest replay`: a record played again, into a queue or as a WebSocket server.

The rule: what is whole of a record is played, and whatever is not is said in the last line.
"""
