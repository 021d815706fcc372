"""lockgate: the secure IoT hub. One identity, one policy, one topic space behind many doors."""

__version__ = "0.1.0"
