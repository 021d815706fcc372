"""The lab: what happens on the wire, taken apart to be looked at."""
