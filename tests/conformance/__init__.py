"""The published case list of the Autobahn WebSocket test suite, client side, played by a server of our own.

The suite itself needs Python 2, so its cases are written anew here as tables, one file for each category:
what the server writes, in which pieces, and what it must get back. docs/conformance.md says how to run the suite itself.
"""
