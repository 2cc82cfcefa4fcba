"""The JSON Schema of the file, for editors and for whoever generates one.

The rule: it describes what TOML can say: no null, no key that the loader puts in, and defaults of single values only.
"""

from __future__ import annotations

from typing import Any

from settings.model import Settings


def file_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the settings file."""
    schema: dict[str, Any] = _without_null(Settings.model_json_schema())
    # Pydantic masks a secret's default as it masks the secret itself.
    del schema["$defs"]["BrokerSettings"]["properties"]["url"]["default"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _without_null(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: _without_null(item)
        for key, item in node.items()
        if not (key == "default" and (item is None or isinstance(item, dict)))
    }
    choices = [choice for choice in kept.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        return {**{key: item for key, item in kept.items() if key != "anyOf"}, **choices[0]}
    return {**kept, "anyOf": choices} if choices else kept
