"""TLS contexts: one per settings and state of their files, and what is wrong with a file is told by its setting."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest.connection.tls_context import context_for
from ingest.errors import DialFailed
from settings.model import TLSSettings
from tests.support.tls import Authority

PASSWORD = "s3cr3t"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def locked(authority: Authority) -> tuple[str, str]:
    """The files of a client's certificate, and of its key, which is encrypted."""
    return authority.files("client.example.com", PASSWORD)


def tls(**settings: Any) -> TLSSettings:
    return TLSSettings.model_validate(settings)


def test_equal_settings_share_a_context(authority: Authority) -> None:
    first = context_for(tls(ca_file=authority.ca_file))

    assert context_for(tls(ca_file=authority.ca_file)) is first
    assert context_for(tls(ca_file=authority.ca_file, min_version="1.3")) is not first


def test_a_changed_file_makes_a_new_context(authority: Authority, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(Path(authority.ca_file).read_bytes())
    first = context_for(tls(ca_file=str(ca_file)))
    ca_file.write_bytes(Path(authority.ca_file).read_bytes() + b"\n")

    assert context_for(tls(ca_file=str(ca_file))) is not first


def test_the_default_verifies_name_and_certificate_from_tls_1_2_on() -> None:
    context = context_for(tls())

    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_without_verification_nothing_is_checked() -> None:
    context = context_for(tls(verify=False))

    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_NONE


def test_ca_file_replaces_the_systems_authorities_and_extra_ca_file_adds_to_them(authority: Authority) -> None:
    system = len(context_for(tls()).get_ca_certs())

    assert len(context_for(tls(ca_file=authority.ca_file)).get_ca_certs()) == 1
    assert len(context_for(tls(extra_ca_file=authority.ca_file)).get_ca_certs()) == system + 1


@pytest.mark.parametrize("key", ["ca_file", "extra_ca_file", "client_cert"])
def test_a_missing_or_broken_file_is_named_with_its_setting(tmp_path: Path, key: str) -> None:
    broken = tmp_path / "broken.pem"
    with pytest.raises(DialFailed) as missing:
        context_for(tls(**{key: str(broken)}))
    broken.write_text("this is no certificate")
    with pytest.raises(DialFailed) as unusable:
        context_for(tls(**{key: str(broken)}))

    assert missing.value == DialFailed("tls", f"tls.{key} = {str(broken)!r}: No such file or directory")
    assert unusable.value.detail.startswith(f"tls.{key} = {str(broken)!r}: ")


def test_unknown_ciphers_are_named() -> None:
    with pytest.raises(DialFailed, match=r"tls\.ciphers = 'NO-SUCH-CIPHER'"):
        context_for(tls(ciphers="NO-SUCH-CIPHER"))


def test_an_encrypted_key_opens_with_its_password_only(locked: tuple[str, str]) -> None:
    certificate, key = locked
    context_for(tls(client_cert=certificate, client_key=key, client_key_password=PASSWORD))

    for wrong in ("wr0ng", "x" * 2000):
        with pytest.raises(DialFailed) as raised:
            context_for(tls(client_cert=certificate, client_key=key, client_key_password=wrong))
        assert raised.value.detail == f"tls.client_key_password: it does not open the key in {key!r}"
        assert wrong not in f"{raised.value} {raised.value!r}"


def test_an_encrypted_key_in_the_certificates_own_file(locked: tuple[str, str], tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(Path(file).read_bytes() for file in locked))
    context_for(tls(client_cert=str(both), client_key_password=PASSWORD))
    with pytest.raises(DialFailed) as raised:
        context_for(tls(client_cert=str(both)))

    assert raised.value.detail == f"tls.client_cert = {str(both)!r}: the key is encrypted; set tls.client_key_password"


def test_what_is_wrong_besides_the_password_is_not_blamed_on_it(authority: Authority, locked: tuple[str, str]) -> None:
    _, key = locked
    certificate, _ = authority.files("another.example.com")
    with pytest.raises(DialFailed) as raised:
        context_for(tls(client_cert=certificate, client_key=key, client_key_password=PASSWORD))

    assert raised.value.detail == f"tls.client_cert = {certificate!r}: key values mismatch"


def test_a_key_without_its_password_is_an_error_and_no_question_on_the_terminal(locked: tuple[str, str]) -> None:
    certificate, key = locked
    code = (
        "from ingest.connection.tls_context import context_for\n"
        "from settings.model import TLSSettings\n"
        "import sys\n"
        "try: context_for(TLSSettings(client_cert=sys.argv[1], client_key=sys.argv[2]))\n"
        "except Exception as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, certificate, key]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.PIPE, check=True)

    assert "the key is encrypted; set tls.client_key_password" in result.stdout
    assert "pass phrase" not in result.stdout + result.stderr
