"""Every web page may connect."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-013",
    title="Every web page may connect",
    severity=Severity.HIGH,
    meaning=(
        "A page from anywhere, opened in a browser inside your network, can speak to the hub. Name the pages that may."
    ),
    fix="remove websocket_origins from lockgate.toml: its default holds then",
    look=setting(
        "mqtt.websocket_origins",
        lambda settings: "*" in settings.mqtt.websocket_origins,
        "any page that a user's browser opens can try",
    ),
)
