"""The names of everything that lockgate logs and audits: `noun.past_verb`."""

from __future__ import annotations

from enum import StrEnum


class Event(StrEnum):
    """One name per thing that happened; `log.info(Event.X, client_id=..., reason=...)`."""

    HUB_STARTED = "hub.started"
    HUB_STOPPED = "hub.stopped"
    LAB_DOOR_OPENED = "lab_door.opened"
    OFFICE_STARTED = "office.started"
    OFFICE_STOPPED = "office.stopped"
    OFFICE_DIED = "office.died"

    CLIENT_CONNECTED = "client.connected"
    CLIENT_REAUTHENTICATED = "client.reauthenticated"
    CLIENT_DISCONNECTED = "client.disconnected"
    CLIENT_SLOWED = "client.slowed"
    CLIENT_REFUSED = "client.refused"
    CLIENT_NAME_UNKNOWN = "server_name.not_covered"

    MESSAGE_DROPPED = "message.dropped"
    WILL_REFUSED = "will.refused"

    SESSION_ENDED = "session.ended"

    HOME_CREATED = "home.created"
    HOME_BACKED_UP = "home.backed_up"
    HOME_RESTORED = "home.restored"
    DEVICE_ADDED = "device.added"
    DEVICE_BLOCKED = "device.blocked"
    DEVICE_UNBLOCKED = "device.unblocked"
    DEVICE_REVOKED = "device.revoked"
    DEVICE_REMOVED = "device.removed"
    DEVICE_DESCRIBED = "device.described"
    CREDENTIAL_ADDED = "credential.added"
    CREDENTIAL_EXPIRES = "credential.expires"
    CREDENTIAL_REVOKED = "credential.revoked"
    RULE_ADDED = "rule.added"
    RULE_REMOVED = "rule.removed"
    GROUP_JOINED = "group.joined"
    GROUP_LEFT = "group.left"
    CLAIM_ADDED = "claim.added"
    CLAIM_REVOKED = "claim.revoked"
    CLAIM_USED = "claim.used"
    DEVICE_ENROLLED = "device.enrolled"
    GROUP_ADDED = "group.added"
    GROUP_BLOCKED = "group.blocked"
    GROUP_UNBLOCKED = "group.unblocked"
    GROUP_REVOKED = "group.revoked"
    GROUP_REMOVED = "group.removed"
    GATEWAY_BOUND = "gateway.bound"
    GATEWAY_UNBOUND = "gateway.unbound"
    SERVER_CERTIFICATE_ISSUED = "server_certificate.issued"

    AUDIT_CHAINED = "audit.chained"
    AUDIT_ANCHORED = "audit.anchored"
    AUDIT_TRIMMED = "audit.trimmed"

    CHANGE_APPLIED = "change.applied"
    LOG_LINES_DROPPED = "log_lines.dropped"
    STORE_CREATED = "store.created"
    STORE_FAILED = "store.failed"
    UNEXPECTED_ERROR = "error.caught"
