"""Nothing of ours ever suggests to skip the check of who the hub is: no text, no source, no example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = (
    "src",
    "docs",
    "examples",
    "bench",
    "tools",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
)
SKIPPED = {"_build", "__pycache__", "node_modules", "results"}
TEXT = {".py", ".md", ".toml", ".sh", ".js", ".mjs", ".ts", ".json", ".txt", ".rst", ".sql", ".conf", ""}
SUGGESTIONS = re.compile(
    r"--insecure|tls_insecure_set|rejectUnauthorized['\"]?\s*[:=]\s*false|verify\s*=\s*False|CERT_NONE"
    r"|check_hostname\s*=\s*False|VERIFY_NONE|_create_unverified_context|curl\s[^\n]*-k\b|insecure_skip_verify|InsecureSkipVerify",
    re.IGNORECASE,
)

# The hub does not ask a browser for its certificate; the browser's check of the hub is as it was.
OTHER_WAY_ROUND = ("src/lockgate/net/context.py", "connection.set_verify(SSL.VERIFY_NONE)")
# A root certificate that is believed by its fingerprint is fetched from whoever answers; nothing else goes that way.
BY_FINGERPRINT = {
    ("src/lockgate/client/options.py", "context.check_hostname = False"),
    ("src/lockgate/client/options.py", "context.verify_mode = ssl.CERT_NONE"),
}


def texts() -> Iterator[tuple[str, str]]:
    for place in PLACES:
        path = ROOT / place
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file() and each.suffix in TEXT and not SKIPPED & set(each.parts):
                yield str(each.relative_to(ROOT)), each.read_text(encoding="utf-8")


def test_nothing_suggests_to_skip_the_check_of_the_hub() -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if SUGGESTIONS.search(line) and (name, line.strip()) not in {OTHER_WAY_ROUND, *BY_FINGERPRINT}
    ]
    assert found == []


def test_the_search_reads_source_and_documentation_and_knows_the_ways() -> None:
    names = {name for name, _ in texts()}
    assert {"src/lockgate/provision/guide.py", "src/lockgate/cli/device.py"} <= names
    for line in (
        "mosquitto_pub --insecure", "client.tls_insecure_set(True)", "{ rejectUnauthorized: false }", "curl -s -k https://hub",
        "context.check_hostname = False", "requests.get(url, verify=False)",
    ):  # fmt: skip
        assert SUGGESTIONS.search(line), line
