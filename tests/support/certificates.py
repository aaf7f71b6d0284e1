"""A certificate authority of the test's own, and server certificates it signs."""

import ssl
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

import trustme

NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Certificates:
    """Files for configs, and a context for servers that run in the test."""

    ca_file: Path
    certificate_file: Path
    """The server's certificate with its chain, PEM."""
    key_file: Path
    server_context: ssl.SSLContext
    authority: trustme.CA

    def client_context(self) -> ssl.SSLContext:
        """Trusts this authority and no other."""
        return ssl.create_default_context(cafile=str(self.ca_file))


def make_certificates(directory: Path, *names: str) -> Certificates:
    """Write an authority and a certificate for `names` (localhost and 127.0.0.1) to files."""
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or NAMES))
    paths = [directory / name for name in ("ca.pem", "server.pem", "server.key")]
    authority.cert_pem.write_to_path(str(paths[0]))
    paths[1].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(paths[2]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return Certificates(paths[0], paths[1], paths[2], context, authority)


Spoilt = Literal["expired", "wrong host", "self-signed", "old protocol"]
SPOILT: tuple[Spoilt, ...] = get_args(Spoilt)


def spoilt_context(certificates: Certificates, how: Spoilt) -> ssl.SSLContext:
    """A server's context that a client trusting `certificates` must refuse for one reason alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if how == "old protocol":
        context.load_cert_chain(certificates.certificate_file, certificates.key_file)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
        return context
    if how == "self-signed":
        own = trustme.CA()
        with own.cert_pem.tempfile() as certificate, own.private_key_pem.tempfile() as key:
            context.load_cert_chain(certificate, key)
    elif how == "wrong host":
        certificates.authority.issue_cert("example.org").configure_cert(context)
    else:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        issued = certificates.authority.issue_cert(
            *NAMES, not_before=yesterday - timedelta(days=9), not_after=yesterday
        )
        issued.configure_cert(context)
    return context
