"""A certificate authority of the test's own, and server certificates it signs."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Files for configs, and a context for servers that run in the test."""

    ca_file: Path
    certificate_file: Path
    """The server's certificate with its chain, PEM."""
    key_file: Path
    server_context: ssl.SSLContext

    def client_context(self) -> ssl.SSLContext:
        """Trusts this authority and no other."""
        return ssl.create_default_context(cafile=str(self.ca_file))


def make_certificates(directory: Path, *names: str) -> Certificates:
    """Write an authority and a certificate for `names` (localhost and 127.0.0.1) to files."""
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("localhost", "127.0.0.1")))
    paths = [directory / name for name in ("ca.pem", "server.pem", "server.key")]
    authority.cert_pem.write_to_path(str(paths[0]))
    paths[1].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(paths[2]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return Certificates(paths[0], paths[1], paths[2], context)
