"""Who may act: somebody who has logged in, with a form that a page of that very session has made.

The rule: what can be told without the form is told before it is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ingest.web.access import Access, Session, is_same_origin
from ingest.web.forms import Form, Refused, read_form


async def admit(
    access: Access, session: Session | None, headers: Mapping[str, str], body: Callable[[], Awaitable[bytes]]
) -> tuple[Session, Form]:
    """Return the session and the form of somebody who may act; `Refused`."""
    if session is None:
        raise Refused(403, "Log in first", "Acting needs the token: the value of WEB_TOKEN of the process that serves this page.")
    check_origin(headers)
    form = await read_form(headers, body)
    if not access.is_csrf_token(session, form.get("csrf", "")):
        raise Refused(403, "Not from this page", "The form did not come from a page of this session. Open the page anew.")
    return session, form


def check_origin(headers: Mapping[str, str]) -> None:
    """Raise `Refused` where a browser says that a form was sent from a page of others."""
    if not is_same_origin(headers.get("origin"), headers.get("sec-fetch-site"), headers.get("host", "")):
        raise Refused(403, "Not from this page", "The form was sent from another page than ours.")
