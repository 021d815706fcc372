"""What goes over the wire, as somebody hears it who listens there: tcpdump on loopback."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from tests.support.hub import eventually
from tests.support.peers import program


class Capture:
    """tcpdump on loopback while the `with` block runs.

    Args:
        path: the file of packets that is to be written.
        protocol: what is caught: "tcp" or "udp".
    """

    def __init__(self, path: Path, protocol: str = "tcp") -> None:
        self.path = path
        self._protocol = protocol
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Capture:
        to = ["-w", str(self.path), self._protocol]
        command = [program("tcpdump"), "-i", "lo", "--immediate-mode", "-U", "-n", "-B", "131072", *to]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert "listening on lo" in line, line
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if kind is None:
            self._settle()
        self._process.send_signal(signal.SIGINT)
        _, said = self._process.communicate(timeout=10)
        assert "0 packets dropped by kernel" in said, said

    def _settle(self) -> None:
        """Wait until tcpdump has written what it heard: a packet sent now must be in the file."""
        kind = socket.SOCK_STREAM if self._protocol == "tcp" else socket.SOCK_DGRAM
        with socket.socket(type=kind) as server, socket.socket(type=kind) as last:
            server.bind(("127.0.0.1", 0))
            if self._protocol == "tcp":
                server.listen()
            last.connect(server.getsockname())
            last.sendall(b"the last word")
            eventually(lambda: b"the last word" in self.path.read_bytes(), 10.0, "the end of the capture")

    def packets_of(self, port: int) -> bytes:
        """Give all that went over one port."""
        chosen = self.path.with_suffix(f".{port}")
        command = [program("tcpdump"), "-r", str(self.path), "-w", str(chosen), "port", str(port)]
        subprocess.run(command, check=True, capture_output=True)
        return chosen.read_bytes()
