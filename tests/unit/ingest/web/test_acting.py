"""Who may act: each of the conditions alone keeps somebody out, and nothing is read of whom one keeps out before."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import pytest

from ingest.web.access import Access, Session
from ingest.web.acting import admit, check_origin
from ingest.web.forms import Form, Refused

ACCESS = Access("a-token-of-the-tests")
OURS = {"host": "page.test", "origin": "https://page.test", "sec-fetch-site": "same-origin"}


def logged_in() -> Session:
    session = ACCESS.session(ACCESS.open_session())
    assert session is not None
    return session


def tried(session: Session | None, *, reads: bool = True, csrf: str | None = None, **headers: str) -> tuple[Session, Form]:
    """Try with a form of one's own page; ``reads``: whether its body may be asked for."""
    token = csrf if csrf is not None else ACCESS.csrf_token(session) if session is not None else ""
    data = urlencode({"csrf": token, "name": "trades"}).encode()

    async def body() -> bytes:
        assert reads, "the body of somebody who may not act is not read"
        return data

    told = {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(data))}
    return asyncio.run(admit(ACCESS, session, {**OURS, **told, **headers}, body))


def test_whoever_has_logged_in_acts_with_a_form_of_the_session() -> None:
    session = logged_in()
    found, form = tried(session)
    assert (found, form.get("name", "")) == (session, "trades")


def test_whoever_has_not_is_told_with_what_to() -> None:
    with pytest.raises(Refused, match="WEB_TOKEN") as refused:
        tried(None, reads=False)
    assert (refused.value.status, refused.value.title) == (403, "Log in first")


@pytest.mark.parametrize("headers", [{"origin": "https://other.test"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}])
def test_a_form_of_another_page_is_not_read(headers: dict[str, str]) -> None:
    with pytest.raises(Refused, match="another page than ours") as refused:
        tried(logged_in(), reads=False, **headers)
    assert refused.value.status == 403
    with pytest.raises(Refused):
        check_origin({**OURS, **headers})


@pytest.mark.parametrize("other", ["none", "another session's"])
def test_a_form_that_is_not_of_the_session_is_refused(other: str) -> None:
    csrf = "" if other == "none" else ACCESS.csrf_token(logged_in())
    with pytest.raises(Refused, match="did not come from a page of this session") as refused:
        tried(logged_in(), csrf=csrf)
    assert refused.value.status == 403
