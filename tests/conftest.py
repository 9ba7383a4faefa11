"""Shared fixtures: small real models, and hypothesis profiles."""

import gc
import os
from collections.abc import Iterator

import _hypothesis_globals
import pytest
from hypothesis import HealthCheck, settings

from glu_prune.efficiency.footprint import fresh_processes
from glu_prune.efficiency.fresh import FreshProcesses
from tests.helpers.sessions import Sessions

gc.disable()  # until all is imported: collections would look at every module again and again
pytest_plugins = ["pytester"]

settings.register_profile(
    "all", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], max_examples=40
)
settings.register_profile("fast", settings.get_profile("all"), max_examples=10)

for _name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # inner sessions must not tell the CI that runs these tests
    os.environ.pop(_name, None)
os.environ["COLUMNS"] = "250"  # a line is a line, whichever window tests run in; those about windows set theirs


def pytest_configure(config: pytest.Config) -> None:
    """Where slow tests are left out, there are fewer examples, too."""
    settings.load_profile("fast" if config.option.markexpr == "not slow" else "all")


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test is slow for a reason."""
    if any(not mark.args for mark in item.iter_markers("slow")):
        raise pytest.UsageError(f"{item.nodeid}: say why it is slow: pytest.mark.slow('...')")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that take longest come first, so that no worker is left with one while the others have nothing to do."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """What is imported by now stays: no garbage collection need look at it again, of which libraries ask for many."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Pytest's own; hypothesis counts an inner session that a usage error ended as one that never began, and warns."""
    monkeypatch.setattr(_hypothesis_globals, "in_initialization", _hypothesis_globals.in_initialization)
    return pytester


@pytest.fixture(scope="session")
def sessions() -> Iterator[Sessions]:
    """Sessions and commands in processes of their own, for all tests: what they import takes ten seconds, once."""
    with Sessions() as found:
        yield found


@pytest.fixture(scope="session")
def processes() -> Iterator[FreshProcesses]:
    """Where memory is measured, for all tests: what these import takes ten seconds, once."""
    with fresh_processes() as found:
        yield found


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to connect or to look up a name fails the test."""
    import socket

    def refuse(*args: object, **kwargs: object) -> None:
        msg = f"this must not reach for the network: {args[1:] or args}"
        raise AssertionError(msg)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
