"""Load and crash tests of the experts' pages at the size the project promises.

They take minutes and are not part of the test suite.

    python -m benchmarks.expert_sessions load --study DIR [--minutes 5] [--train]
        20 readers with 2 s between answers; with --train `deepminer train` runs beside the server
    python -m benchmarks.expert_sessions kill --study DIR [--times 100]
        kill -9 of the server while readers answer; after each kill the evidence chain is verified
    python -m benchmarks.expert_sessions logs [--study DIR] [--times 100]
        the write-ahead log truncated, or one bit of it inverted, at random positions

DIR is a study with patches, such as the demonstration. The benchmark copies it and never writes to
it. Each command prints one JSON object.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core import store
from core.errors import UserError
from core.store import evidence, participant_table
from core.store.connection import STORE_NAME
from core.store.reading import protocol_table, reading_table
from core.store.reading.reading_table import ReadingCase

ROOT = Path(__file__).resolve().parent.parent
PROTOCOL_NAME = "Load"
# Of the 95th percentile of a load test: alone, and beside a training.
GOAL_MS, GOAL_BESIDE_TRAINING_MS = 100, 250
TEXTS = (
    "Mass with spiculated margin",
    "Architectural distortion",
    "Lymph node",
    "Vascular calcifications",
    "Focal asymmetry",
    "Scattered tissue",
)
SERVER_CODE = (
    "import sys; from pathlib import Path; from dashboard.application import serve_study;"
    " serve_study(Path(sys.argv[1]), port=int(sys.argv[2]))"
)
# Commits answers one by one and then kills itself, so that the answers are in the log only.
COMMIT_CODE = """
import os, signal, sys
from pathlib import Path
from core.store.connection import STORE_NAME
import duckdb
con = duckdb.connect(str(Path(sys.argv[1]) / STORE_NAME))
for i in range(int(sys.argv[2])):
    con.execute("BEGIN")
    con.execute(
        "INSERT INTO answers"
        " VALUES ('Load', 1, 'L1', ?, 1, 3, 1.0, FALSE, FALSE, now()::TIMESTAMP)",
        [i + 1],
    )
    con.execute("COMMIT")
os.kill(os.getpid(), signal.SIGKILL)
"""


def freeze_protocol(study: Path, count: int) -> None:
    """Add a frozen protocol of `count` synthetic cases, newer than any other."""
    rng = random.Random(1)
    cases = [
        ReadingCase(
            number=i,
            mammogram_id=f"M{i}",
            patient_id=f"P{i // 2}",
            arm="explanation",
            texts=tuple(rng.sample(TEXTS, 3)),
            truth=None,
            network_score=None,
            predicted=None,
        )
        for i in range(1, count + 1)
    ]
    with store.write(study) as con:
        common: dict[str, Any] = {
            "protocol": PROTOCOL_NAME,
            "version": 1,
            "design": {"name": PROTOCOL_NAME, "seed": 1, "scale": 6, "repeats": 0},
        }
        protocol_table.append_protocol_state(con, state="design", **common)
        reading_table.add_reading_cases(con, PROTOCOL_NAME, 1, cases)
        for state in ("checked", "frozen"):
            protocol_table.append_protocol_state(con, state=state, hash="0" * 64, **common)


class ServerProcess:
    """The server of a study in a process of its own, always on the same port."""

    def __init__(self, study: Path) -> None:
        self.study = study
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with (self.study / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVER_CODE, str(self.study), str(self.port)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 300  # on a loaded machine a start takes minutes
        while time.monotonic() < deadline:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", "/_stcore/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError((self.study / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(kw_only=True)
class SimulatedReader:
    """A reader who behaves like the page.

    An answer is sent again with the same token until it is acknowledged.
    """

    port: int
    code: str
    token: str
    think_s: float
    latencies: list[float] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    resent: int = 0

    def __post_init__(self) -> None:
        self._cookie = ""
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)

    def _send(self, path: str, body: str | None) -> tuple[int, bytes]:
        """Send one request; return status and content."""
        content_type = "x-www-form-urlencoded" if path == "/enter" else "json"
        headers = {"Cookie": self._cookie, "Content-Type": f"application/{content_type}"}
        self._connection.request("POST" if body is not None else "GET", path, body, headers)
        response = self._connection.getresponse()
        self._cookie = (response.getheader("set-cookie") or self._cookie).split(";")[0]
        return response.status, response.read()

    def request(self, path: str, body: str, retry: bool) -> tuple[int, bytes]:
        """Send a request; with `retry` (the server is killed at times), resend a lost one."""
        while True:
            try:
                return self._send(path, body)
            except (OSError, http.client.HTTPException):
                self._connection.close()
                if not retry:
                    raise
                self.resent += 1
                time.sleep(0.1)

    def sign_in(self, retry: bool) -> dict:
        """Sign in, consent and begin; return the first case."""
        while True:
            self.request("/enter", f"token={self.token}", retry)
            self.request("/expert/read/consent", "{}", retry)
            status, content = self.request("/expert/read/begin", "{}", retry)
            if status == 200 or not retry:
                return json.loads(content)["case"]
            time.sleep(0.5)  # the store is busy, as the page says

    def answer_cases(self, stop: threading.Event, rng: random.Random, retry: bool) -> None:
        """Answer cases until `stop` is set or no case is left."""
        case: dict | None = self.sign_in(retry)
        # Readers start at different times, so that they do not answer in step.
        stop.wait(rng.random() * self.think_s)
        while not stop.is_set() and case:
            value = rng.randint(1, 6)
            body = json.dumps({"token": case["token"], "answer": value, "seconds": 1.0})
            start = time.perf_counter()
            try:
                status, content = self.request("/expert/read/answer", body, retry)
            except (OSError, http.client.HTTPException) as error:
                self.errors[type(error).__name__] += 1
                return
            if status != 200:
                self.errors[f"{status} {content[:80]!r}"] += 1
                if status < 500:
                    return
                time.sleep(0.5)
                continue
            self.latencies.append(time.perf_counter() - start)
            self.acknowledged.append(value)
            case = json.loads(content).get("case")
            stop.wait(self.think_s)


def invite_readers(study: Path, count: int, port: int, think_s: float) -> list[SimulatedReader]:
    """Invite `count` readers."""
    readers = []
    with store.write(study) as con:
        for number in range(1, count + 1):
            token = participant_table.new_invitation_token()
            participant_table.invite_participant(
                con, f"L{number}", "reader", participant_table.hash_token(token)
            )
            readers.append(
                SimulatedReader(port=port, code=f"L{number}", token=token, think_s=think_s)
            )
    return readers


def compare_with_store(study: Path, readers: list[SimulatedReader]) -> dict[str, int]:
    """Return counts of lost, wrong and duplicate answers among those acknowledged."""
    lost = wrong = duplicates = unacknowledged = 0
    with store.read(study) as con:
        for reader in readers:
            rows = con.execute(
                "SELECT position, revision, answer FROM answers WHERE protocol = ? AND code = ?"
                " ORDER BY position, revision",
                [PROTOCOL_NAME, reader.code],
            ).fetchall()
            first = {position: answer for position, revision, answer in rows if revision == 1}
            duplicates += len(rows) - len({position for position, _, _ in rows})
            for position, answer in enumerate(reader.acknowledged, start=1):
                lost += position not in first
                wrong += position in first and first[position] != answer
            unacknowledged += max(0, len(first) - len(reader.acknowledged))
    return {
        "acknowledged": sum(len(r.acknowledged) for r in readers),
        "lost": lost,
        "wrong": wrong,
        "doubled": duplicates,
        "stored_not_yet_acknowledged": unacknowledged,
    }


def start_readers(
    readers: list[SimulatedReader], stop: threading.Event, retry: bool
) -> list[threading.Thread]:
    """Start each reader in a thread."""
    threads = [
        threading.Thread(target=r.answer_cases, args=(stop, random.Random(i), retry), daemon=True)
        for i, r in enumerate(readers)
    ]
    for thread in threads:
        thread.start()
    return threads


def wait_for_answers(readers: list[SimulatedReader], count: int, limit_s: float = 60) -> None:
    """Wait until `count` answers in all are acknowledged."""
    deadline = time.monotonic() + limit_s
    while sum(len(r.acknowledged) for r in readers) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def stop_readers(threads: list[threading.Thread], stop: threading.Event) -> None:
    """Stop the readers and wait for their last answers."""
    stop.set()
    for thread in threads:
        thread.join()


def total_errors(readers: list[SimulatedReader]) -> dict[str, int]:
    """Return the number of errors of all readers by kind."""
    return dict(sum((r.errors for r in readers), Counter()))


def start_training(study: Path) -> subprocess.Popen:
    """Start a long training at the lowest priority and wait until it computes."""
    command = [sys.executable, "-m", "dashboard.cli", "train", "--study", str(study)]
    with (study / "train.log").open("w") as log:
        process = subprocess.Popen(
            ["nice", "-n", "19", *command, "--epochs", "500"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    time.sleep(15)
    return process


def stop_training(study: Path, process: subprocess.Popen) -> None:
    """Stop the training; raise an error with its log if it ended before."""
    if process.poll() is not None:
        raise RuntimeError((study / "train.log").read_text()[-1000:])
    process.terminate()
    process.wait()


def run_load_test(study: Path, minutes: float, count: int, think_s: float, train: bool) -> dict:
    """Measure the time from an answer to its acknowledgement as a client sees it.

    Returns the median, 95th and 99th percentile and maximum, the errors, and a comparison of the
    store with the acknowledged answers.
    """
    freeze_protocol(study, max(60, int(minutes * 60 / think_s) + 20))
    server = ServerProcess(study)
    readers, stop = invite_readers(study, count, server.port, think_s), threading.Event()
    training = start_training(study) if train else None
    load_before = os.getloadavg()[0]
    threads = start_readers(readers, stop, retry=False)
    time.sleep(minutes * 60)
    stop_readers(threads, stop)
    if training is not None:
        stop_training(study, training)
    server.kill()
    latencies = np.sort(np.concatenate([r.latencies for r in readers]))
    quantiles = {
        f"p{q}_ms": round(1000 * float(np.quantile(latencies, q / 100)), 1) for q in (50, 95, 99)
    }
    return {
        "readers": count,
        "think_s": think_s,
        "minutes": minutes,
        "training_beside": train,
        **quantiles,
        "goal_p95_ms": GOAL_BESIDE_TRAINING_MS if train else GOAL_MS,
        "largest_ms": round(1000 * float(latencies[-1]), 1),
        "errors": total_errors(readers),
        **compare_with_store(study, readers),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }


def run_kill_test(study: Path, times: int, count: int = 12, think_s: float = 0.2) -> dict:
    """Kill the server `times` times while readers answer and resend lost answers."""
    freeze_protocol(study, 40 + 8 * times)
    server, rng = ServerProcess(study), random.Random(7)
    readers, stop = invite_readers(study, count, server.port, think_s), threading.Event()
    threads = start_readers(readers, stop, retry=True)
    broken: list[str] = []
    for _ in range(times):
        wait_for_answers(readers, sum(len(r.acknowledged) for r in readers) + count)
        time.sleep(rng.uniform(0, 0.6))
        server.kill()
        with store.read(study) as con:
            verification = evidence.verify_chain(con)
        broken += [verification.reason] if verification.reason else []
        server.start()
    time.sleep(2)
    stop_readers(threads, stop)
    server.kill()
    return {
        "kills": times,
        "broken_chains": broken,
        "evidence_records": verification.records,
        "readers": count,
        "resent": sum(r.resent for r in readers),
        "errors": total_errors(readers),
        **compare_with_store(study, readers),
    }


def damage_log(log: Path, position: int, invert_bit: bool) -> None:
    """Truncate a file at a position, or invert one bit there."""
    with log.open("r+b") as file:
        file.seek(position)
        if invert_bit:
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 16]))
        else:
            file.truncate()


def run_log_test(study: Path, times: int, commits: int = 40) -> dict:
    """Damage the write-ahead log of a killed process `times` times and open the store.

    The store must open with the first answers, without a gap, or report how to restore a backup.
    """
    freeze_protocol(study, commits)
    backup = study / "saved.duckdb"
    store.create_backup(study, backup)
    subprocess.run(
        [sys.executable, "-c", COMMIT_CODE, str(study), str(commits)], cwd=ROOT, check=False
    )
    log = study / f"{STORE_NAME}.wal"
    contents = {path: path.read_bytes() for path in (study / STORE_NAME, log)}
    rng, answer_counts, restored, gaps = random.Random(3), [], 0, 0
    for number in range(times):
        for path, content in contents.items():
            path.write_bytes(content)
        damage_log(log, rng.randrange(len(contents[log])), invert_bit=number % 2 == 1)
        try:
            with store.read(study) as con:
                rows = con.execute("SELECT position FROM answers ORDER BY position").fetchall()
        except UserError as error:
            restored += 1
            assert "deepminer restore" in str(error), error
            store.restore_backup(study, backup)
            continue
        gaps += [position for (position,) in rows] != list(range(1, len(rows) + 1))
        answer_counts.append(len(rows))
    return {
        "cuts": times,
        "commits": commits,
        "opened": len(answer_counts),
        "restored_from_backup": restored,
        "with_gaps": gaps,
        "answers_kept": sorted(Counter(answer_counts).items()),
    }


def main() -> None:
    """Copy the study, run one test and print its result."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.expert_sessions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("test", choices=("load", "kill", "logs"))
    parser.add_argument("--study", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--think", type=float, default=2.0)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        if options.study:
            shutil.copytree(options.study, study)
        else:
            from core.study_folder import create_study

            create_study(study)
        if options.test == "load":
            result = run_load_test(
                study, options.minutes, options.readers, options.think, options.train
            )
        elif options.test == "kill":
            result = run_kill_test(study, options.times)
        else:
            result = run_log_test(study, options.times)
    print(json.dumps({"name": f"experts {options.test}", "cores": os.cpu_count(), **result}))


if __name__ == "__main__":
    main()
