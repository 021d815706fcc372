"""A device with an Ed25519 key, from its folder to a message: tokens by us and by another library, and nothing said."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.interop.conftest import Devices
from tests.support import forgery
from tests.support.hub import RunningHub, run_lockgate
from tests.support.paho_client import PahoClient
from tests.support.tokens import encoded, unsigned

pytestmark = pytest.mark.process


def test_a_token_is_made_without_a_word_beside_it_and_says_what_most_libraries_say(devices: Devices) -> None:
    folder = devices("jwt-eddsa").ca.parent
    done = run_lockgate("device", "token", str(folder), environment={"PYTHONWARNINGS": "always"})
    assert done.stderr == ""
    (token,) = done.stdout.splitlines()
    head = token.partition(".")[0]
    assert json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))["alg"] == "EdDSA"


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_a_token_of_another_library_opens_a_session_under_either_name(
    hub: RunningHub, devices: Devices, algorithm: str
) -> None:
    shown = devices("jwt-eddsa", algorithm)
    key = load_pem_private_key((shown.ca.parent / "device.key").read_bytes(), None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    signed = unsigned({"alg": algorithm, "typ": "JWT"}, forgery.claims("some-jwt-eddsa"))
    with PahoClient(shown.but(password=(signed + b"." + encoded(key.sign(signed))).decode())) as client:
        assert client.publish("meeting/eddsa", "hello").code in (0, 0x10)
    assert "Warning" not in hub.log()
