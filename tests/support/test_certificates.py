"""Each spoilt certificate is refused for its own reason, and the good one is taken."""

import socket
import ssl
from pathlib import Path

import pytest

from tests.support.certificates import SPOILT, Spoilt, make_certificates, spoilt_context
from tests.support.scripted import ScriptedUpstream, until_closed

REASONS: dict[Spoilt, str] = {
    "expired": "expired",
    "wrong host": "mismatch",
    "self-signed": "self-signed",
    "old protocol": "protocol",
}


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """What a client says of a server; None where they agree."""
    with (
        ScriptedUpstream([until_closed], tls=server) as upstream,
        socket.create_connection(("127.0.0.1", upstream.port), 5) as opened,
    ):
        try:
            client.wrap_socket(opened, server_hostname="127.0.0.1").close()
        except ssl.SSLError as error:
            return str(error).lower()
    return None


def test_a_good_certificate_is_taken(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    assert shake_hands(certificates.server_context, certificates.client_context()) is None


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_one_is_refused_for_its_own_reason(tmp_path: Path, how: Spoilt) -> None:
    certificates = make_certificates(tmp_path)
    said = shake_hands(spoilt_context(certificates, how), certificates.client_context())
    assert said is not None
    assert REASONS[how] in said


def test_the_old_protocol_works_for_who_takes_it(tmp_path: Path) -> None:
    """So that its refusal is a choice, not an impossibility."""
    certificates = make_certificates(tmp_path)
    client = certificates.client_context()
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    assert shake_hands(spoilt_context(certificates, "old protocol"), client) is None
