"""pytest plugin that records which functions of the program each test enters.

It is loaded in the processes that `test_map` starts. A session or module fixture is set up once, by
the first test that needs it; what its setup enters is counted for all tests with the fixture.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

OUTPUT_VARIABLE = "MUTATION_RECORD"
FOLDERS_VARIABLE = "MUTATION_FOLDERS"


def function_name(code: CodeType) -> str:
    """Return the outermost function around a code object, such as "Session.close"."""
    return code.co_qualname.split(".<locals>")[0]


class FunctionRecorder:
    """Trace function that collects the code objects entered in all threads."""

    def __init__(self, root: Path, folders: list[str]) -> None:
        self._prefixes = tuple(f"{root / folder}/" for folder in folders)
        self._root = root
        # By identity, because comparing code objects is slow.
        self.codes: dict[int, CodeType] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Record the entered function; None, so that its lines are not traced."""
        self.codes[id(frame.f_code)] = frame.f_code

    def start(self) -> None:
        """Trace this thread and all threads that begin later."""
        threading.settrace(self)
        sys.settrace(self)

    def take(self, codes: dict[int, CodeType]) -> set[str]:
        """Return "file::function" of the program's code objects among those given."""
        return {
            f"{Path(code.co_filename).relative_to(self._root).as_posix()}::{function_name(code)}"
            for code in list(codes.values())
            if code.co_filename.startswith(self._prefixes)
        }


class RecorderPlugin:
    """Hooks that assign what is entered to tests and fixtures."""

    def __init__(self, recorder: FunctionRecorder, output: Path) -> None:
        self._recorder = recorder
        self._output = output
        self._fixtures: dict[str, set[str]] = {}
        self._tests: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        """Collect the setup of a shared fixture apart from the test that happens to be first."""
        if fixturedef.scope == "function":
            return (yield)
        outer, self._recorder.codes = self._recorder.codes, {}
        try:
            return (yield)
        finally:
            entered = self._recorder.take(self._recorder.codes)
            self._fixtures.setdefault(fixturedef.argname, set()).update(entered)
            self._recorder.codes = outer

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Collect what one test enters."""
        self._recorder.codes = {}
        self._tests[item.nodeid] = {
            "seconds": 0.0,
            "passed": False,
            "fixtures": list(getattr(item, "fixturenames", ())),
        }
        # Other tools may have replaced the trace function in the meantime.
        self._recorder.start()
        result = yield
        self._tests[item.nodeid]["entered"] = self._recorder.take(self._recorder.codes)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note duration and outcome."""
        test = self._tests[report.nodeid]
        test["seconds"] += report.duration
        if report.when == "call":
            test["passed"] = report.passed
        elif report.failed:
            test["passed"] = False

    def pytest_sessionfinish(self) -> None:
        """Write the record of all tests."""
        tests = {}
        for node, test in self._tests.items():
            entered = set(test.get("entered", ()))
            for fixture in test["fixtures"]:
                entered |= self._fixtures.get(fixture, set())
            tests[node] = {
                "seconds": round(test["seconds"], 3),
                "passed": test["passed"],
                "entered": sorted(entered),
            }
        self._output.write_text(json.dumps(tests), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Start recording if a file for the record is named."""
    output = os.environ.get(OUTPUT_VARIABLE)
    if output:
        recorder = FunctionRecorder(Path.cwd(), os.environ[FOLDERS_VARIABLE].split(os.pathsep))
        config.pluginmanager.register(RecorderPlugin(recorder, Path(output)), "function-recorder")
        recorder.start()
