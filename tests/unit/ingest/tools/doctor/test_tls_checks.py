"""What the doctor says of the URL of Redis, and of TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.tools.doctor.tls_checks import way_to_redis
from tests.support.inspections import FEEDS, facts, said


@pytest.mark.parametrize(
    ("broker", "levels", "text"),
    [
        ('url = "redis://:hunter2@h/0"', ["ok"], "redis://, without TLS"),
        ('url = "rediss://:hunter2@h/0"', ["ok"], "encrypted and verified"),
        ('url = "unix:///tmp/s"', ["ok"], "unix://"),
        ('url = "rediss://h/0"\ntls.verify = false', ["warning"], "is not verified"),
        ('url = "rediss://h/0"\ntls = { verify = false, ca_file = "CA" }', ["warning", "warning"], "ca_file has no effect"),
        ('url = "redis://h/0"\ntls.verify = false', ["problem"], "nothing is encrypted"),
        ('url = "redis://h/0?ssl_cert_reqs=none"', ["problem"], "asks for ssl_cert_reqs, but not for TLS"),
        ('url = "rediss://h/0?ssl_cert_reqs=none"', ["warning"], "ssl_cert_reqs wins over [broker] tls.verify"),
        ('url = "redis://h/0?max_connections=50"', ["warning"], "max_connections wins over"),
        ('url = "redis://h/0?retry_on_timeout=yes&protocol=3&socket_timeout=1"', ["warning", "warning"], "protocol is ignored"),
    ],
)
def test_what_has_no_effect_or_wins_is_named(tmp_path: Path, broker: str, levels: list[str], text: str) -> None:
    (tmp_path / "ca.pem").write_text("")
    found = said(way_to_redis(facts(tmp_path, f"[broker]\n{broker.replace('CA', str(tmp_path / 'ca.pem'))}\n{FEEDS}")))
    assert [level for level, _ in found] == levels
    assert text in found[0][1]
    assert "hunter2" not in str(found)
