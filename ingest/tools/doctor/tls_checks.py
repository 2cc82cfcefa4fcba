"""What is judged of the way to Redis: TLS settings that have no effect, and arguments of the URL that are ignored or win.

The rule: pure, and nothing of the URL but names of arguments is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from ingest.tools.doctor.facts import Facts, Finding

#: Arguments of a URL that redis-py knows and that have no effect here: we retry ourselves, and speak RESP 2.
IGNORED = frozenset({"retry_on_timeout", "retry_on_error", "retry", "protocol", "health_check_interval", "legacy_responses"})

#: Those that win over our own settings, and the setting.
WINS = {
    "max_connections": "[broker] max_connections",
    "ssl_cert_reqs": "[broker] tls.verify",
    "ssl_check_hostname": "[broker] tls.verify",
    "ssl_ca_certs": "[broker] tls.ca_file",
}

_VERIFY = (
    "set tls.verify = true, with tls.ca_file if need be (with self-signed certificates, as on Heroku, it has to be like this)"
)


def way_to_redis(facts: Facts) -> Iterator[Finding]:
    """Judge URL and TLS settings."""
    found = [*_arguments(facts), *_tls(facts)]
    if not found:
        scheme = urlsplit(facts.settings.broker.url.get_secret_value()).scheme
        found = [Finding("tls", "ok", "encrypted and verified" if scheme == "rediss" else f"{scheme}://, without TLS")]
    yield from found


def _arguments(facts: Facts) -> Iterator[Finding]:
    parts = urlsplit(facts.settings.broker.url.get_secret_value())
    names = sorted(parse_qs(parts.query))
    for name in names:
        if name in IGNORED:
            yield Finding(
                "tls",
                "warning",
                f"the URL's argument {name} is ignored",
                "remove it: retries and protocol are the supervisor's own",
            )
        elif name.startswith("ssl_") and parts.scheme != "rediss":
            yield Finding(
                "tls",
                "problem",
                f"the URL asks for {name}, but not for TLS ({parts.scheme}://): no connection can be made like that",
                "write rediss://, or remove it",
            )
        elif name in WINS:
            yield Finding(
                "tls", "warning", f"the URL's argument {name} wins over {WINS[name]}", f"remove it, and say it with {WINS[name]}"
            )


def _tls(facts: Facts) -> Iterator[Finding]:
    tls = facts.settings.broker.tls
    scheme = urlsplit(facts.settings.broker.url.get_secret_value()).scheme
    if scheme != "rediss":
        if not tls.verify or tls.ca_file:
            yield Finding(
                "tls",
                "problem" if scheme == "redis" else "warning",
                f"[broker] tls is set and has no effect, because the URL is {scheme}://: nothing is encrypted",
                "write rediss:// in the URL, or remove [broker] tls",
            )
        return
    if not tls.verify and tls.ca_file:
        yield Finding(
            "tls", "warning", "[broker] tls.ca_file has no effect, because tls.verify is false", "remove tls.verify = false"
        )
    if not tls.verify:
        yield Finding("tls", "warning", "Redis's certificate is not verified", _VERIFY)
