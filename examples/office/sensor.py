"""The Raspberry Pi in the meeting room: publishes the temperature once a second.

python sensor.py FOLDER     (the folder that `lockgate device add` made)
"""

import itertools
import sys
import time

from lockgate.client import Device

try:
    with Device.open(sys.argv[1]) as device:
        for reading in itertools.count():  # a real one would read its sensor here
            device.publish("Office/Meetingroom/Temperature", f"{23.0 + reading % 10 * 0.4:.1f}")
            time.sleep(1)
except KeyboardInterrupt:
    print("sensor: goodbye")
