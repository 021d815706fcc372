"""The suite's own machinery: which hub is judged, which differences are known, and what the results were.

pytest tests/conformance                                    our own hub, started for it
pytest tests/conformance --hub mqtt://localhost:1883        any other
pytest tests/conformance --hub ... --elsewhere mosquitto-2.0.11     with its known differences
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.catalogue import differences, tests
from tests.conformance.client import Address, Hub
from tests.conformance.report import PASSED, load_results, save_results, summed_up
from tests.support.hub import RunningHub

HERE = Path(__file__).parent
FOLDER = "tests/conformance/"
OWN_PASSWORD_DEVICE = "kettle"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--hub", help="judge this hub: mqtt://[user:password@]host:port or mqtts://... (default: our own)")
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
