"""Certificates and TLS contexts for tests, from a certificate authority made on the spot."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key


class Authority:
    """A certificate authority, its certificate in a file."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self._directory = directory
        self.ca_file = str(directory / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)

    def server_context(self, *names: str, client_certificates: bool = False) -> ssl.SSLContext:
        """Return a server's context with a certificate for these names; it may insist on a client's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        if client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
            self._ca.configure_trust(context)
        return context

    def files(self, name: str, password: str | None = None) -> tuple[str, str]:
        """Return the files of a certificate for ``name``, and of its key, which a password encrypts."""
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        issued = self._ca.issue_cert(name)
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        if password is not None:
            private = load_pem_private_key(key.read_bytes(), None)
            key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())))
        return str(certificate), str(key)
