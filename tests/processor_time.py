"""Where the processor time of a test session goes, printed at its end: the costliest files and tests."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator

import pytest

SHOWN = 8


def spent() -> float:
    """Return the seconds, of user and system, of this process and of its ended children; a busy machine adds none."""
    return sum(os.times()[:4])


class ProcessorTime:
    """Sends what each test took along with its last report, and prints sums where the reports arrive.

    A fixture of a file or a session counts for the test that asks first. Children that nobody waits for do not count.
    """

    def __init__(self) -> None:
        self.began: float | None = None
        self.before = 0.0
        self.tests: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        if self.began is None:
            item.user_properties.append(("seconds before tests", spent()))
        self.began = spent()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "teardown" and self.began is not None:
            report.user_properties.append(("seconds", spent() - self.began))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown":
            return
        told = dict(report.user_properties)
        self.before += told.get("seconds before tests", 0.0)
        self.tests[report.nodeid] = told.get("seconds", 0.0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files: Counter[str] = Counter()
        for test, seconds in self.tests.items():
            files[test.partition("::")[0]] += seconds
        if not files:
            return
        terminalreporter.section("seconds of processor time")
        terminalreporter.line(f"{files.total():7.1f} all tests, and {self.before:.1f} before the first of each process")
        for totals in (files, self.tests):
            for name, seconds in totals.most_common(SHOWN):
                terminalreporter.line(f"{seconds:7.1f} {name}")
