"""What all tables share."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from settings.table import Table


class Example(Table):
    count: int = 1
    """How many."""
    ratio: float = 1.0


@pytest.mark.parametrize("keys", [{"count": "1"}, {"count": 1.0}, {"count": True}, {"ratio": "1"}, {"ratio": True}, {"other": 1}])
def test_no_other_type_and_no_other_key(keys):
    with pytest.raises(ValidationError):
        Example.model_validate(keys)


def test_a_whole_number_is_a_number():
    assert Example.model_validate({"ratio": 5}).ratio == 5.0


def test_it_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Example().count = 2  # type: ignore[misc] # what is tested


def test_what_was_refused_is_not_shown():
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({"count": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_text_under_a_key_is_its_description():
    assert Example.model_fields["count"].description == "How many."
