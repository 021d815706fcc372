"""The one list of devices: the gate's view of it, what people do to it, and who was turned away."""
