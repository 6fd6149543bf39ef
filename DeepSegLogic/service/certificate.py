"""The server's certificate: given, or made here and known by its fingerprint."""

from __future__ import annotations

import socket
import ssl
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from ..util.digests import certificate_digest
from ..util.errors import UsageError
from .files import private_folder, write_bytes

_DAYS = 825


def own_certificate(folder: Path) -> tuple[Path, Path]:
    """Certificate and key in a folder, made if they are not there."""
    certificate, key = private_folder(folder) / "certificate.pem", folder / "key.pem"
    if not (certificate.exists() and key.exists()):
        shown, secret = _make()
        write_bytes(key, secret)
        write_bytes(certificate, shown)
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the first certificate in a PEM file, as clients show and pin it: ``AB:CD:…``.

    Raises:
        UsageError: the file is no certificate.
    """
    try:
        text = certificate.read_text("ascii")
        der = ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN") : text.index("-----END") + 25])
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{certificate} is not a certificate.", "Give a file in PEM format.", code="usage.tls"
        ) from error
    return certificate_digest(der)


def _make() -> tuple[bytes, bytes]:
    """A certificate for this machine, and its key, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DeepSeg server")])
    names = dict.fromkeys(["localhost", socket.gethostname(), socket.getfqdn()])
    places = [x509.DNSName(one) for one in names if one.isascii()]
    loopback = [x509.IPAddress(ip_address(one)) for one in ("127.0.0.1", "::1")]
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([*places, *loopback]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), secret
