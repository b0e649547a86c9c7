import pytest

from conformance.reference import References, folder

REFERENCES = References()


@pytest.fixture(scope="session")
def reference() -> References:
    return REFERENCES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The accounting comes after every test that it accounts for."""
    items.sort(key=lambda item: item.path.name == "test_accounting.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if REFERENCES.opened:
        terminalreporter.section(f"conformance with {folder()}")
        REFERENCES.report(terminalreporter.write_line)
