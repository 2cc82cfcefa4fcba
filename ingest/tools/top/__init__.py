"""The live screen of ``top``: what ``status`` prints, again every second, with the last hour as bars.

The rule: only `ingest.tools.top.app` imports textual; what it shows is made by the pure modules beside it.
"""
