"""A real browser, headless, with a page that is an MQTT client: npm's mqtt as browsers load it, over secure WebSocket.

The page and npm's bundle come from a small server on loopback; the page tells that server what happens to it. The
browser trusts what its owner put into its store, and nothing is switched off: it checks the hub as at anybody's home.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.peers import Login, program

JS = Path(__file__).parent.parent / "interop" / "js"
BUNDLE = JS / "node_modules" / "mqtt" / "dist" / "mqtt.min.js"
PAGE = JS / "page.html"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
)  # fmt: skip
START_SECONDS = 60.0

Facts = dict[str, Any]


class Browser:
    """One browser with one page; leaving the `with` ends both.

    Args:
        folder: an empty folder for everything that the browser keeps.
        login: who the page is, and where the hub is; its port is that of the WebSocket door.
        trusts: the CA that the browser's owner has put into its store, None for none.
        host: the host name by which the page is loaded: the origin that the browser tells.
        options: what else the page's `mqtt.connect` gets.
    """

    def __init__(
        self,
        folder: Path,
        login: Login,
        *,
        trusts: Path | None,
        host: str = "localhost",
        options: Mapping[str, object] | None = None,
    ) -> None:
        if not BUNDLE.is_file():
            pytest.fail("npm's mqtt is not installed: run make peers")
        self._folder = folder
        self._host = host
        self._told: queue.Queue[Facts] = queue.Queue()
        self._log_path = folder / "browser.log"
        self._plan: Facts = {
            "url": f"wss://{login.host}:{login.port}/mqtt",
            "options": {
                "clientId": login.client_id,
                "username": login.user_name,
                "password": login.password,
                "protocolVersion": 5,
                "reconnectPeriod": 0,
                **(options or {}),
            },
        }
        self._store_trust(trusts)

    def __enter__(self) -> Browser:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._temporary = tempfile.TemporaryDirectory(prefix="page")  # short: the browser makes a Unix socket in it
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [program("chromium"), *FLAGS, f"--user-data-dir={self._folder / 'profile'}", f"{self.origin}/page"],
                env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        for each in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, each)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()
        self._temporary.cleanup()

    @property
    def origin(self) -> str:
        """Where the page comes from, as the browser says it in the handshake."""
        return f"http://{self._host}:{self._server.server_port}"

    def next(self, event: str) -> Facts:
        """Give the next thing that the page tells; it must be of this kind."""
        deadline = time.monotonic() + START_SECONDS
        while self._told.empty():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._log_path.read_text(errors="replace")[-3000:]
                pytest.fail(f"the page did not tell of {event!r}; the browser's log:\n{log}")
            time.sleep(0.01)
        facts = self._told.get()
        assert facts["event"] == event, facts
        return facts

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        return {**kept, "HOME": str(self._folder), "TMPDIR": self._temporary.name}

    def _store_trust(self, authority: Path | None) -> None:
        store = self._folder / ".pki" / "nssdb"
        store.mkdir(parents=True)
        certutil = [program("certutil"), "-d", f"sql:{store}"]
        subprocess.run([*certutil, "-N", "--empty-password"], check=True)
        if authority is not None:
            subprocess.run([*certutil, "-A", "-n", "hub", "-t", "C,,", "-i", str(authority)], check=True)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        told, plan = self._told, msgspec.json.encode(self._plan)
        pages = {
            "/page": ("text/html", PAGE.read_bytes()),
            "/mqtt.js": ("text/javascript", BUNDLE.read_bytes()),
            "/plan": ("application/json", plan),
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, content = pages.get(self.path, ("", b""))
                self.send_response(200 if content else 404)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_POST(self) -> None:
                facts = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])), type=Facts)
                told.put(facts)  # before the answer: the page's next word comes by another thread
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
