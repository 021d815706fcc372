"""The suite's own machinery: which hub is judged, which differences are known, and what the results were.

pytest tests/conformance                                    our own hub, started for it
pytest tests/conformance --hub mqtt://localhost:1883        any other
pytest tests/conformance --hub ... --elsewhere mosquitto-2.0.11     with its known differences
pytest tests/conformance --hub coap://localhost:5683        the part about CoAP, any server
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.catalogue import differences, tests
from tests.conformance.client import Address, Hub
from tests.conformance.coap import CoapServer
from tests.conformance.report import PASSED, load_results, save_results, summed_up
from tests.support.hub import RunningHub

HERE = Path(__file__).parent
FOLDER = "tests/conformance/"
COAP = "test_coap_"
"""How the files about CoAP begin."""
OWN_PASSWORD_DEVICE = "kettle"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption(
        "--hub", help="judge this hub: mqtt://[user:password@]host:port, mqtts://... or coap://... (default: our own)"
    )
    group.addoption("--hub-ca", type=Path, help="the CA certificate for mqtts://")
    group.addoption("--keep-results", action="store_true", help="of a full run against our own hub: keep the results")
    group.addoption(
        "--elsewhere", help="a file in tests/conformance/elsewhere: differences of that hub, and who is right"
    )


def hub_url(config: pytest.Config) -> str | None:
    """Give --hub; None also when this file was loaded too late for options (a run of all tests)."""
    found = config.getoption("--hub", default=None)
    return str(found) if found else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    url = hub_url(config)
    elsewhere = config.getoption("--elsewhere", default=None)
    known = differences(elsewhere) if elsewhere else {}
    if url is not None:
        is_coap = url.startswith("coap:")
        items[:] = [i for i in items if not i.path.is_relative_to(HERE) or i.path.name.startswith(COAP) == is_coap]
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        if url is None:
            item.add_marker("process")
        elif item.get_closest_marker("needs_lockgate"):
            item.add_marker(pytest.mark.skip(reason="needs settings or credentials that only lockgate can be given"))
        name = item.nodeid.removeprefix(FOLDER)
        difference = known.get(name) or known.get(name.partition("[")[0])
        if difference is not None:
            item.add_marker(pytest.mark.xfail(reason=f"{difference.right}: {difference.why}", strict=False))


class Record:
    """What the suite's tests said; once all have been run against our own hub, that is compared with what is kept."""

    def __init__(self, config: pytest.Config) -> None:
        self.outcomes: list[tuple[str, str]] = []
        self.problem = ""
        self._is_ours = hub_url(config) is None
        self._is_kept = bool(config.getoption("--keep-results", default=False))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid.startswith(FOLDER) and (report.when == "call" or report.outcome != PASSED):
            self.outcomes.append((report.nodeid.removeprefix(FOLDER), report.outcome))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        found = summed_up(self.outcomes)
        every = {test for group in tests().values() for test in group}
        if not self._is_ours or not every <= set(found):
            return
        if self._is_kept:
            save_results(found)
        elif found != load_results():
            self.problem = "the results kept in tests/conformance are not those of this run: run make conformance"
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.problem:
            terminalreporter.write_line(f"error: {self.problem}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Record(config))


class Own:
    """Our own hub, for the tests that need credentials; a test that takes it is marked `needs_lockgate`."""

    def __init__(self, running: RunningHub) -> None:
        self.running = running
        folder = running.add_device(OWN_PASSWORD_DEVICE, "password", "--publish", "kettle/#", "--receive", "kettle/#")
        self.password = next(folder.glob("*password*")).read_text()
        self.user = OWN_PASSWORD_DEVICE

    @property
    def address(self) -> Address:
        """MQTT over TLS, showing nothing."""
        return Address("localhost", self.running.port, ca=self.running.ca_path)


@pytest.fixture(scope="session")
def own_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """Our own hub with its defaults, but telling of itself each second, and the lab port: there one may do all."""
    settings = "\n[hub]\nsys_interval_seconds = 1.0\n"
    with RunningHub(tmp_path_factory.mktemp("conformance"), lab=True, settings=settings) as running:
        yield running


@pytest.fixture(scope="session")
def own(own_hub: RunningHub) -> Own:
    """Our own hub with a device that has a password and may use `kettle/#` only."""
    return Own(own_hub)


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest) -> Address:
    """Where the hub under test is."""
    url = hub_url(request.config)
    if url is not None:
        return Address.parse(url, request.config.getoption("--hub-ca"))
    running: RunningHub = request.getfixturevalue("own_hub")
    return Address("127.0.0.1", running.lab_port)


@pytest.fixture
def hub(address: Address, request: pytest.FixtureRequest) -> Iterator[Hub]:
    """The hub under test, with a prefix of this test's own for client ids and topics."""
    with Hub(address, is_ours=hub_url(request.config) is None) as found:
        yield found


COAP_SETTINGS = (
    "nosec_enabled = true",
    "nosec_port = 0",
    'hosts = ["0.0.0.0"]',  # groups reach only a door on all addresses
    'multicast_groups = ["224.0.1.187"]',
    "multicast_enabled = true",
    "ack_timeout_seconds = 1.0",
    "max_retransmit = 2",
)


@contextmanager
def coap_hub(folder: Path, *settings: str) -> Iterator[RunningHub]:
    """Run our own hub with CoAP open to this machine: the device `meter` is whoever comes from 127.0.0.1."""
    with RunningHub(folder, coap=COAP_SETTINGS + settings) as running:
        rules = ("--publish", "t/#", "--receive", "t/#")
        running.add_device("meter", "nosec", "--address", "127.0.0.1", "--accept-no-security", *rules)
        yield running


def coap_server(running: RunningHub) -> CoapServer:
    """Give where it listens without DTLS."""
    return CoapServer("127.0.0.1", running.plain_coap_port, is_ours=True)


@contextmanager
def slow_disk(pid: int) -> Iterator[None]:
    """Make each sync of a process take two seconds, by strace: what is durable is answered late."""
    syncs = "fsync,fdatasync"
    command = ["strace", "-f", "-p", str(pid), "-e", f"trace={syncs}", "-e", f"inject={syncs}:delay_enter=2000000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "attached" in line, line
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def coap_address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoapServer]:
    """Where the CoAP server under test is."""
    url = hub_url(request.config)
    if url is not None:
        yield CoapServer.parse(url)
        return
    with coap_hub(tmp_path_factory.mktemp("coap")) as running:
        yield coap_server(running)


@pytest.fixture
def coap(coap_address: CoapServer) -> Iterator[CoapServer]:
    """The CoAP server under test; the test's peers are closed after it."""
    yield coap_address
    coap_address.close()


@pytest.fixture
def separate(
    coap_address: CoapServer, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[CoapServer, str]]:
    """A server and a path that it answers later: ours PUT, which waits for the disk, and libcoap's GET of /async."""
    if not coap_address.is_ours:
        yield coap_address, "async"
        coap_address.close()
        return
    with coap_hub(tmp_path) as running, slow_disk(running.pid):
        server = coap_server(running)
        yield server, server.resource()
        server.close()
