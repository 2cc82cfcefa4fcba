"""Forms: no larger, no slower and no other than ours."""

from __future__ import annotations

import asyncio

import pytest

from ingest.web import forms
from ingest.web.forms import LARGEST, MOST_FIELDS, Refused, read_form

FORM = "application/x-www-form-urlencoded"


def read(data: bytes, **headers: str) -> forms.Form:
    told = {"content-type": FORM, "content-length": str(len(data))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }

    async def body() -> bytes:
        return data

    return asyncio.run(read_form(told, body))


def test_fields_come_in_order_and_keep_what_stands_in_them() -> None:
    form = read("letter=a%2Fé&letter=b&empty=&csrf=x+y".encode(), content_type=f"{FORM}; charset=utf-8")
    assert form.all("letter")[1:] == ["b"]
    assert (form.get("csrf", ""), form.get("empty", "-"), form.get("none", "-")) == ("x y", "", "-")
    assert form.first["letter"] == form.all("letter")[0]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": str(LARGEST + 1)}, 413),
        ({"content_length": ""}, 413),
        ({"content_length": "-1"}, 413),
        ({"content_length": "²"}, 413),
        ({"content_length": "9" * 5000}, 413),
        ({"content_type": "multipart/form-data; boundary=x"}, 415),
        ({"content_type": "application/json"}, 415),
        ({"content_type": ""}, 415),
    ],
)
def test_what_is_no_form_of_ours_is_not_read(headers: dict[str, str], status: int) -> None:
    with pytest.raises(Refused) as refused:
        read(b"a=b", **headers)
    assert refused.value.status == status


def test_too_many_fields_are_refused() -> None:
    with pytest.raises(Refused) as refused:
        read(b"&".join([b"a=b"] * (MOST_FIELDS + 1)))
    assert refused.value.status == 400


def test_a_body_that_does_not_come_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "PATIENCE", 0.01)

    async def never() -> bytes:
        await asyncio.Event().wait()
        return b""

    with pytest.raises(Refused) as refused:
        asyncio.run(read_form({"content-type": FORM, "content-length": "3"}, never))
    assert refused.value.status == 408
