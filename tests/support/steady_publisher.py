"""A program that publishes without pause and notes what was acknowledged: python -m tests.support.steady_publisher.

Arguments: the device's folder, the hub's port, the topic, the QoS, and the file for the acknowledged payloads.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.paho_peer import PahoPeer

WINDOW = 50


def main(folder: str, port: str, topic: str, qos: str, notes: str) -> None:
    """Publish 0, 1, 2, ... until killed."""
    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    peer = PahoPeer(Path(folder), int(port), expiry=3600)
    peer.connect()
    waiting: dict[int, bytes] = {}
    number = 0
    while True:
        while len(waiting) < WINDOW:
            payload = f"{topic}-{number}".encode()
            waiting[peer.client.publish(topic, payload, int(qos)).mid] = payload
            number += 1
        for packet_id in [each for each in waiting if each in peer.acknowledged]:
            del peer.acknowledged[packet_id]
            os.write(file, waiting.pop(packet_id) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
