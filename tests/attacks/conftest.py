"""The hub's rooms as an attacker finds them: a registry with a few devices, identity, policy and the topic space."""

from __future__ import annotations

import msgspec
import pytest

from lockgate.errors import AuthenticationFailed, LockgateError
from lockgate.hub import Hub, Session
from lockgate.identity import Authenticator, Credentials
from lockgate.identity import password as password_room
from lockgate.model.message import Message
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription, Will
from lockgate.model.topic import topic_filter, topic_name
from lockgate.policy import PolicyEngine
from lockgate.settings import HubSettings, IdentitySettings
from tests.support.fakes import FakeOutlet, FakeStore
from tests.support.registry import (
    CHEAP_HASHER,
    EC_KEY,
    NOW,
    OTHER_EC_KEY,
    RSA_KEY,
    FakeRegistry,
    es256,
    password,
    rs256,
    x509_key,
)


class Target:
    """What is attacked. `sensor` (ES256), `camera` (RS256), `office` (X.509) and `kettle` (password) are registered."""

    def __init__(self) -> None:
        self.registry = FakeRegistry()
        self.registry.add("sensor", es256(EC_KEY))
        self.registry.add("camera", rs256(RSA_KEY))
        self.registry.add("office", x509_key(OTHER_EC_KEY))
        self.registry.add("kettle", password("right"))
        self.identity = Authenticator(self.registry, IdentitySettings())
        self.store = FakeStore()
        self.unheard: list[LockgateError] = []
        self.hub = Hub(
            PolicyEngine(self.registry), self.store, HubSettings(), lambda error, _: self.unheard.append(error)
        )

    def shows(self, secret: bytes, client_id: str = "sensor", **words: object) -> Principal:
        """Show a secret in a CONNECT at the time NOW."""
        shown = msgspec.structs.replace(Credentials(client_id, client_id.partition("/")[0], secret), **words)
        return self.identity.authenticate(shown, NOW)

    def refuses(self, secret: bytes, client_id: str = "sensor", **words: object) -> AuthenticationFailed:
        """See that a secret is refused, with nothing but the error that says so; give it."""
        with pytest.raises(LockgateError) as caught:
            self.shows(secret, client_id, **words)
        assert isinstance(caught.value, AuthenticationFailed)
        told = f"{caught.value}{caught.value.evidence}{caught.value.fix}"
        assert len(secret) < 20 or secret.decode("latin-1") not in told
        return caught.value

    def opens(self, principal: Principal, will: Will | None = None, expiry_seconds: float = 0.0) -> Session:
        """Open a session."""
        return self.hub.open_session(principal, FakeOutlet(), False, expiry_seconds, will, 100, NOW).session

    def listens(self, device: str, pattern: str, qos: int = 0) -> Session:
        """Open a session of a device with one subscription."""
        session = self.opens(self.registry.principal(device, f"{device}/ear"))
        self.hub.subscribe(session, Subscription(topic_filter(pattern), qos), NOW)
        return session

    def publishes(self, principal: Principal, topic: str, retain: bool = False, payload: bytes = b"x") -> bool:
        """Publish; say whether the hub took it."""
        message = Message(topic_name(topic), payload, retain=retain, publisher=principal.device)
        return not isinstance(self.hub.publish(principal, message), LockgateError)


def heard(session: Session) -> list[str]:
    """Take the topics of all that waits for a session."""
    topics = []
    while (delivery := session.take(NOW, 1_000_000)) is not None:
        topics.append(str(delivery.message.topic))
    return topics


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    """Give a fresh target, whose password hashes are cheap."""
    monkeypatch.setattr(password_room, "PasswordHasher", lambda: CHEAP_HASHER)
    return Target()
