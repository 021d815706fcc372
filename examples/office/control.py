"""The office control: hears the temperature, and warns the people in the office when it is too warm.

python control.py FOLDER     (the folder that `lockgate device add` made)
"""

import signal
import sys

from lockgate.client import Device
from lockgate.model.message import Message


def warn(message: Message) -> None:
    """Look at one reading."""
    if float(message.payload) > 24.0:
        device.publish("Office/Meetingroom/Warning", f"{message.payload.decode()} degrees: open a window")


try:
    with Device.open(sys.argv[1]) as device:
        device.subscribe("Office/Meetingroom/Temperature", warn)
        signal.pause()
except KeyboardInterrupt:
    print("control: goodbye")
