"""The experts' pages under load, under kill -9 and after a power cut, at the size the project
promises. Minutes long, so not in the test suite.

    python -m benchmarks.expert_sessions load --study DIR [--minutes 5] [--train]     20 readers, 2 s think
    time; with `deepminer train` beside python -m benchmarks.expert_sessions kill --study DIR [--times 100]
    kill -9 of the server while readers answer python -m benchmarks.expert_sessions logs [--times 100]
    the write-ahead log cut, or one bit of it turned, at random points

DIR is any study with patches (the demonstration); it is copied first and never written to. Each
prints one JSON object.
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

import numpy as np

from core import store
from core.errors import UserError
from core.store import participant_table, reading_table
from core.store.reading_table import Case

ROOT = Path(__file__).resolve().parent.parent
NAME = "Load"
WORDS = (
    "Mass with spiculated margin",
    "Architectural distortion",
    "Lymph node",
    "Vascular calcifications",
    "Focal asymmetry",
    "Scattered tissue",
)
SERVE = (
    "import sys; from pathlib import Path; from dashboard.application import serve;"
    " serve(Path(sys.argv[1]), port=int(sys.argv[2]))"
)


def freeze(study: Path, count: int) -> None:
    """A frozen protocol of `count` made-up cases, newer than any other."""
    rng = random.Random(1)
    cases = [
        Case(
            number=i,
            mammogram_id=f"M{i}",
            patient_id=f"P{i // 2}",
            arm="explanation",
            texts=tuple(rng.sample(WORDS, 3)),
            truth=None,
            network_score=None,
            predicted=None,
        )
        for i in range(1, count + 1)
    ]
    with store.write(study) as con:
        common = {
            "protocol": NAME,
            "version": 1,
            "design": {"name": NAME, "seed": 1, "scale": 6, "repeats": 0},
        }
        reading_table.append_state(con, state="design", **common)
        reading_table.add_cases(con, NAME, 1, cases)
        for state in ("lint", "frozen"):
            reading_table.append_state(con, state=state, hash="0" * 64, **common)


class Server:
    """The real server in a process of its own, always at the same port."""

    def __init__(self, study: Path) -> None:
        self.study = study
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.study / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(self.study), str(self.port)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                line.request("GET", "/_stcore/health")
                if line.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError((self.study / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """Kill -9."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Reader:
    """One reader as the page does it: sends an answer again with the same token until it is
    acknowledged.
    """

    port: int
    code: str
    token: str
    think: float
    seconds: list[float] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    resent: int = 0

    def __post_init__(self) -> None:
        self._cookie = ""
        self._line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)

    def _ask(self, path: str, body: str | None) -> tuple[int, bytes]:
        headers = {"Cookie": self._cookie, "Content-Type": "application/json"}
        self._line.request("POST" if body is not None else "GET", path, body, headers)
        reply = self._line.getresponse()
        self._cookie = (reply.getheader("set-cookie") or self._cookie).split(";")[0]
        return reply.status, reply.read()

    def ask(self, path: str, body: str | None = None, patient: bool = False) -> tuple[int, bytes]:
        """A request; where `patient` (the server is being killed), lost ones are sent again."""
        while True:
            try:
                return self._ask(path, body)
            except (OSError, http.client.HTTPException):
                self._line.close()
                if not patient:
                    raise
                self.resent += 1
                time.sleep(0.1)

    def enter(self, patient: bool) -> dict:
        """Sign in, consent, begin; the first text."""
        self.ask("/enter", f"token={self.token}", patient)
        self.ask("/expert/read/consent", "{}", patient)
        return json.loads(self.ask("/expert/read/begin", "{}", patient)[1])["case"]

    def read(self, until: threading.Event, rng: random.Random, patient: bool = False) -> None:
        """Answer until told to stop or done."""
        case = self.enter(patient)
        until.wait(rng.random() * self.think)
        while not until.is_set() and case:
            value = rng.randint(1, 6)
            start = time.perf_counter()
            try:
                status, content = self.ask(
                    "/expert/read/answer",
                    json.dumps({"token": case["token"], "answer": value, "seconds": 1.0}),
                    patient,
                )
            except (OSError, http.client.HTTPException) as error:
                self.errors[type(error).__name__] += 1
                return
            if status != 200:
                self.errors[f"{status} {content[:80]!r}"] += 1
                if status < 500:
                    return
                time.sleep(0.5)
                continue
            self.seconds.append(time.perf_counter() - start)
            self.acknowledged.append(value)
            case = json.loads(content).get("case")
            until.wait(self.think)


def invite(study: Path, count: int, port: int, think: float) -> list[Reader]:
    """Readers with links."""
    found = []
    with store.write(study) as con:
        for number in range(1, count + 1):
            token = participant_table.new_token()
            participant_table.invite(
                con, f"L{number}", "reader", participant_table.token_hash(token)
            )
            found.append(Reader(port, f"L{number}", token, think))
    return found


def check(study: Path, readers: list[Reader]) -> dict:
    """What the store holds against what was acknowledged."""
    lost = wrong = doubled = unacknowledged = 0
    with store.read(study) as con:
        for reader in readers:
            rows = con.execute(
                "SELECT position, revision, answer FROM answers WHERE protocol = ? AND code = ?"
                " ORDER BY position, revision",
                [NAME, reader.code],
            ).fetchall()
            first = {position: answer for position, revision, answer in rows if revision == 1}
            doubled += len(rows) - len({position for position, _, _ in rows})
            for position, answer in enumerate(reader.acknowledged, start=1):
                lost += position not in first
                wrong += position in first and first[position] != answer
            unacknowledged += max(0, len(first) - len(reader.acknowledged))
    total = sum(len(r.acknowledged) for r in readers)
    return {
        "acknowledged": total,
        "lost": lost,
        "wrong": wrong,
        "doubled": doubled,
        "stored_not_yet_acknowledged": unacknowledged,
    }


def run(readers: list[Reader], until: threading.Event, patient: bool) -> list[threading.Thread]:
    """Start every reader in a thread."""
    threads = [
        threading.Thread(target=r.read, args=(until, random.Random(i), patient), daemon=True)
        for i, r in enumerate(readers)
    ]
    for thread in threads:
        thread.start()
    return threads


def load(study: Path, minutes: float, count: int, think: float, train: bool) -> dict:
    """p50, p95 and largest time from key to acknowledgement as a client sees it, errors, every
    answer present once.
    """
    freeze(study, max(60, int(minutes * 60 / think) + 20))
    server = Server(study)
    readers, until, training = invite(study, count, server.port, think), threading.Event(), None
    if train:
        command = [
            "nice",
            "-n",
            "19",
            sys.executable,
            "-m",
            "dashboard.cli",
            "train",
            "--study",
            str(study),
            "--epochs",
            "500",
        ]
        training = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=(study / "train.log").open("w")
        )
        time.sleep(15)
    before = os.getloadavg()[0]
    threads = run(readers, until, patient=False)
    time.sleep(minutes * 60)
    until.set()
    for thread in threads:
        thread.join()
    still = training is not None and training.poll() is None
    if training is not None and not still:
        raise RuntimeError((study / "train.log").read_text()[-1000:])
    if training is not None:
        training.terminate()
        training.wait()
    server.kill()
    seconds = np.sort(np.concatenate([r.seconds for r in readers]))
    figures = {
        f"p{q}_ms": round(1000 * float(np.quantile(seconds, q / 100)), 1) for q in (50, 95, 99)
    }
    return {
        "readers": count,
        "think_s": think,
        "minutes": minutes,
        "training_beside": still,
        **figures,
        "largest_ms": round(1000 * float(seconds[-1]), 1),
        "errors": dict(sum((r.errors for r in readers), Counter())),
        **check(study, readers),
        "load_before": before,
        "load_after": os.getloadavg()[0],
    }


def kill(study: Path, times: int, count: int = 12, think: float = 0.2) -> dict:
    """Kill the server `times` times while readers answer; they send again what was not
    acknowledged.
    """
    freeze(study, 40 + 8 * times)
    server, rng = Server(study), random.Random(7)
    readers, until = invite(study, count, server.port, think), threading.Event()
    threads = run(readers, until, patient=True)
    time.sleep(3)
    for _ in range(times):
        time.sleep(rng.uniform(0.1, 1.2))
        server.kill()
        server.start()
    time.sleep(2)
    until.set()
    for thread in threads:
        thread.join()
    server.kill()
    errors = dict(sum((r.errors for r in readers), Counter()))
    return {
        "kills": times,
        "readers": count,
        "resent": sum(r.resent for r in readers),
        "errors": errors,
        **check(study, readers),
    }


COMMITS = """
import os, signal, sys
from pathlib import Path
from core.store.connection import STORE_NAME
import duckdb
con = duckdb.connect(str(Path(sys.argv[1]) / STORE_NAME))
for i in range(int(sys.argv[2])):
    con.execute("BEGIN")
    con.execute("INSERT INTO answers VALUES ('Load', 1, 'L1', ?, 1, 3, 1.0, FALSE, FALSE, now()::TIMESTAMP)", [i + 1])
    con.execute("COMMIT")
os.kill(os.getpid(), signal.SIGKILL)
"""


def logs(study: Path, times: int, commits: int = 40) -> dict:
    """A process killed after 40 commits leaves a log; cut at random, the store must open with a
    beginning of the answers, or say how to restore.
    """
    freeze(study, commits)
    saved = study / "saved.duckdb"
    store.backup(study, saved)
    subprocess.run([sys.executable, "-c", COMMITS, str(study), str(commits)], cwd=ROOT, check=False)
    whole = {name: (study / name).read_bytes() for name in ("study.duckdb", "study.duckdb.wal")}
    rng, kept, refused, gaps = random.Random(3), [], 0, 0
    for number in range(times):
        for name, content in whole.items():
            (study / name).write_bytes(content)
        place = rng.randrange(len(whole["study.duckdb.wal"]))
        with (study / "study.duckdb.wal").open("r+b") as file:
            if number % 2:
                file.seek(place)
                file.write(bytes([whole["study.duckdb.wal"][place] ^ 16]))
            else:
                file.truncate(place)
        try:
            with store.read(study) as con:
                places = [
                    row[0]
                    for row in con.execute(
                        "SELECT position FROM answers ORDER BY position"
                    ).fetchall()
                ]
        except UserError as error:
            refused += 1
            assert "deepminer restore" in str(error), error
            store.restore(study, saved)
            continue
        gaps += places != list(range(1, len(places) + 1))
        kept.append(len(places))
    return {
        "cuts": times,
        "commits": commits,
        "opened": len(kept),
        "restored_from_backup": refused,
        "with_gaps": gaps,
        "answers_kept": sorted(Counter(kept).items()),
    }


def main() -> None:
    """Copy the study, run one of the three, print."""
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("what", choices=("load", "kill", "logs"))
    asked.add_argument("--study", type=Path)
    asked.add_argument("--minutes", type=float, default=5.0)
    asked.add_argument("--readers", type=int, default=20)
    asked.add_argument("--think", type=float, default=2.0)
    asked.add_argument("--times", type=int, default=100)
    asked.add_argument("--train", action="store_true")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        if given.study:
            shutil.copytree(given.study, study)
        else:
            from core.study_folder import init

            init(study)
        if given.what == "load":
            result = load(study, given.minutes, given.readers, given.think, given.train)
        else:
            result = kill(study, given.times) if given.what == "kill" else logs(study, given.times)
    print(json.dumps({"name": f"experts {given.what}", "cores": os.cpu_count(), **result}))


if __name__ == "__main__":
    main()
