"""What all tables of the settings share.

The rule: frozen; strict about keys and types (``true`` is no number, ``"5"`` is none either); silent about secret input.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """One TOML table as a typed value."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, use_attribute_docstrings=True)
