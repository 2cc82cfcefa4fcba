"""``python -m ingest``: the command line, once it is certain that ``settings`` is ours."""

from __future__ import annotations

from ingest.service.shadow import refuse_foreign_settings

refuse_foreign_settings()

from ingest.service.cli import main  # noqa: E402 - imports settings, see above

if __name__ == "__main__":
    main()
