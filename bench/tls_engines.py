"""What a TLS handshake and an idle connection cost the server, on the two engines that Python offers.

    python bench/tls_engines.py [--json] [--runs 5] [--handshakes 300]

Server CPU in microseconds (median of the runs' means) per full mutual TLS 1.3 handshake on P-256 certificates, tickets
included, and per resumed one; bytes of memory per idle connection after a full handshake. Both ends live in one
process, in memory; only the server's steps are counted. The client is the standard library's, so that both servers
answer the same one; its group is X25519. Each figure comes from fresh processes, the engines taking turns.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import ssl
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time_ns
from typing import Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from OpenSSL import SSL

from lockgate.net.context import load_context
from lockgate.net.tls import TlsStream
from tests.support.certificates import Authority

CASES = ["ssl, 2 tickets", "ssl, 1 ticket", "ssl, 0 tickets", "pyOpenSSL, 2 tickets", "pyOpenSSL, OP_NO_TICKET"]
FIGURES = ["full_us", "resumed_us", "idle_bytes"]
IDLE_CONNECTIONS = 500
_CHUNK_BYTES = 65_536


class Server(Protocol):
    """One connection's server side."""

    def receive_data(self, data: bytes) -> bytes: ...
    def data_to_send(self) -> bytes: ...


class SslServer:
    """The standard library's engine behind the same two verbs."""

    __slots__ = ("_engine", "_incoming", "_is_established", "_outgoing")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._engine = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_established = False

    def receive_data(self, data: bytes) -> bytes:
        self._incoming.write(data)
        try:
            if not self._is_established:
                self._engine.do_handshake()
                self._is_established = True
            return self._engine.read(_CHUNK_BYTES)
        except ssl.SSLWantReadError:
            return b""

    def data_to_send(self) -> bytes:
        return self._outgoing.read()


class Bench:
    """One engine with its contexts, certificates made fresh."""

    def __init__(self, case: str, folder: Path) -> None:
        authority = Authority("Bench CA")
        hub = authority.issue("hub", names=["localhost"], purpose="server").write(folder, "hub")
        device = authority.issue("device").write(folder, "device")
        authorities = folder / "ca.pem"
        authorities.write_bytes(authority.pem)
        self._client = ssl.create_default_context(cafile=str(authorities))
        self._client.load_cert_chain(*device)
        self._ssl: ssl.SSLContext | None = None
        if case.startswith("ssl"):
            self._ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._ssl.load_cert_chain(*hub)
            self._ssl.load_verify_locations(authorities)
            self._ssl.verify_mode = ssl.CERT_OPTIONAL
            self._ssl.num_tickets = int(case.split()[1])
        else:
            self._context = load_context(*hub, authorities)
            if case.endswith("OP_NO_TICKET"):
                self._context.engine.set_options(SSL.OP_NO_TICKET)

    def _new_server(self) -> Server:
        return SslServer(self._ssl) if self._ssl else TlsStream(self._context)

    def shake_hands(self, session: ssl.SSLSession | None = None) -> tuple[int, ssl.SSLObject, Server]:
        """Give back the server's CPU nanoseconds, the client and the server."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self._client.wrap_bio(incoming, outgoing, server_hostname="localhost", session=session)
        spent, start = 0, process_time_ns()
        server = self._new_server()
        spent += process_time_ns() - start
        while True:
            try:
                client.do_handshake()
                client.read(1)
            except ssl.SSLWantReadError:
                pass
            data = outgoing.read()
            if not data:
                return spent, client, server
            start = process_time_ns()
            server.receive_data(data)
            answer = server.data_to_send()
            spent += process_time_ns() - start
            incoming.write(answer)

    def measure(self, handshakes: int) -> dict[str, float | None]:
        for _ in range(20):
            _, client, _ = self.shake_hands()
        full = sum(self.shake_hands()[0] for _ in range(handshakes)) / handshakes / 1000
        session = client.session
        resumed: float | None = None
        if session is not None and session.has_ticket and self.shake_hands(session)[1].session_reused:
            resumed = sum(self.shake_hands(session)[0] for _ in range(handshakes)) / handshakes / 1000
        return {"full_us": full, "resumed_us": resumed, "idle_bytes": self._measure_memory()}

    def _measure_memory(self) -> float:
        servers = [self.shake_hands()[2] for _ in range(50)]
        gc.collect()
        before = _resident_bytes()
        servers += [self.shake_hands()[2] for _ in range(IDLE_CONNECTIONS)]
        gc.collect()
        return (_resident_bytes() - before) / IDLE_CONNECTIONS


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _run_once(case: str, handshakes: int) -> dict[str, float | None]:
    command = [sys.executable, __file__, "--case", case, "--handshakes", str(handshakes)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    figures: dict[str, float | None] = json.loads(answer.stdout)
    return figures


def _median(runs: list[dict[str, float | None]], figure: str) -> float | None:
    values = [value for value in (run[figure] for run in runs) if value is not None]
    return round(statistics.median(values)) if values else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--runs", type=int, default=5, help="fresh processes per case")
    parser.add_argument("--handshakes", type=int, default=300, help="handshakes per process and kind")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.case:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(Bench(wanted.case, Path(folder)).measure(wanted.handshakes)))
        return
    runs: dict[str, list[dict[str, float | None]]] = {case: [] for case in CASES}
    for _ in range(wanted.runs):
        for case in CASES:
            runs[case].append(_run_once(case, wanted.handshakes))
    results = {case: {figure: _median(runs[case], figure) for figure in FIGURES} for case in CASES}
    engines = {"ssl": ssl.OPENSSL_VERSION, "pyOpenSSL": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()}
    if wanted.json:
        print(json.dumps({"python": platform.python_version(), "engines": engines, "results": results}, indent=2))
        return
    print(f"Python {platform.python_version()}; ssl: {engines['ssl']}; pyOpenSSL: {engines['pyOpenSSL']}\n")
    print("| engine | full, us | resumed, us | idle, bytes |\n|---|---|---|---|")
    for case, figures in results.items():
        print(f"| {case} | " + " | ".join("-" if value is None else f"{value:,}" for value in figures.values()) + " |")


if __name__ == "__main__":
    main()
