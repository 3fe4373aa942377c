"""A synthetic reading study for the blinding benchmark, and a client that records its traffic.

The images are made so that a leak would show: malignant mammograms have more texture, so their
files would be larger without padding.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import store, study_folder
from core.images import blinded_rendering
from core.sessions.arms import ARMS, shows_images, shows_texts
from core.sessions.case_order import assign_blocks, text_keys
from core.sessions.reading_pictures import render_reading_pictures
from core.store import participant_table
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import CHECKED, DESIGN, FROZEN
from core.store.reading.reading_table import CasePicture, ReadingCase

NAME, RUN = "Blinding", "explain-000000000001"
TEXTS = (
    "Mass with spiculated margin",
    "Architectural distortion",
    "Fine pleomorphic calcifications",
    "Lymph node",
    "Vascular calcifications",
    "Mass with circumscribed margin",
    "Heterogeneously dense tissue",
    "Focal asymmetry",
    "Scattered tissue",
)
_HEIGHT, _WIDTH = 480, 360

# (method, path, body) -> (status, body)
Send = Callable[[str, str, bytes | None], tuple[int, bytes]]


def create_reading_study(folder: Path, cases: int = 200, repeats: int = 20, seed: int = 1) -> Path:
    """Create a study with one frozen protocol over all arms; each mammogram is in two cases."""
    rng = np.random.default_rng(seed)
    study_folder.create_study(folder)
    (folder / "runs" / RUN).mkdir(parents=True)
    mammograms = -(-cases // 2)
    malignant = rng.permutation(np.arange(mammograms) % 2 == 0)
    for number in range(mammograms):
        _write_mammogram(folder, number, bool(malignant[number]), rng)
    rows = _draw_cases(cases, malignant, rng)
    design = {"name": NAME, "seed": seed, "scale": 6, "repeats": repeats, "arms": list(ARMS)}
    design["practice"] = [list(TEXTS[:3]), list(TEXTS[3:6])]
    pictures = [
        picture for case in rows if (picture := _picture(case, int(case.mammogram_id or 0)))
    ]
    rendered = render_reading_pictures(folder, pictures)
    with store.write(folder) as con:
        common: dict[str, Any] = {"protocol": NAME, "version": 1, "design": design}
        protocol_table.append_protocol_state(con, state=DESIGN, **common)
        reading_table.add_reading_cases(con, NAME, 1, rows)
        for state in (CHECKED, FROZEN):
            protocol_table.append_protocol_state(con, state=state, hash="0" * 64, **common)
        reading_table.add_case_pictures(con, NAME, 1, rendered)
    return folder


def _draw_cases(count: int, malignant: np.ndarray, rng: np.random.Generator) -> list[ReadingCase]:
    """Return cases whose arms are equally frequent; the two of a mammogram differ in arm."""
    mammograms = [number % len(malignant) for number in range(count)]
    first = rng.permutation(np.resize(np.arange(len(ARMS)), len(malignant)))
    shift = rng.integers(1, len(ARMS), len(malignant))
    arms = [
        ARMS[(first[m] + (shift[m] if number >= len(malignant) else 0)) % len(ARMS)]
        for number, m in enumerate(mammograms)
    ]
    texts = [tuple(rng.permutation(TEXTS)[:3]) if shows_texts(arm) else () for arm in arms]
    patients = [f"P{m}" for m in mammograms]
    blocks = assign_blocks(arms, patients, text_keys(texts), seed=1)
    scores = np.where(malignant, 0.62, 0.38) + rng.normal(0, 0.15, len(malignant))
    return [
        ReadingCase(
            number=number + 1,
            mammogram_id=str(m),
            patient_id=patients[number],
            arm=arms[number],
            texts=texts[number],
            truth="MALIGNANT" if malignant[m] else "BENIGN",
            network_score=float(scores[m]),
            predicted=None,
            block=blocks[number],
        )
        for number, m in enumerate(mammograms)
    ]


def _write_mammogram(folder: Path, number: int, malignant: bool, rng: np.random.Generator) -> None:
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    inside = ((x / (0.8 * _WIDTH)) ** 2 + ((y - _HEIGHT / 2) / (0.44 * _HEIGHT)) ** 2) < 1
    texture = rng.random((_HEIGHT, _WIDTH)) * (70 if malignant else 40)
    np.save(folder / "images" / f"film{number}.npy", (inside * (90 + texture)).astype(np.uint8))
    maps = rng.random((3, 15, 12)).astype(np.float16)
    np.savez(folder / "runs" / RUN / f"map{number}.npz", probability=maps)


def _picture(case: ReadingCase, mammogram: int) -> CasePicture | None:
    if not shows_images(case.arm):
        return None
    if case.arm == "class_map":
        source = blinded_rendering.class_map_source(RUN, f"map{mammogram}.npz", f"film{mammogram}")
        return CasePicture(case.number, blinded_rendering.CLASS_MAP, source)
    source = blinded_rendering.mammogram_source(f"film{mammogram}")
    return CasePicture(case.number, blinded_rendering.MAMMOGRAM, source)


def invite_reader(study: Path, code: str) -> str:
    """Invite a reader and return the token of the link."""
    token = participant_table.new_invitation_token()
    with store.write(study) as con:
        participant_table.invite_participant(
            con, code, "reader", participant_table.hash_token(token)
        )
    return token


@dataclass(kw_only=True)
class Showing:
    """What a reader's computer sees of one case: bytes and seconds, nothing of the key."""

    reader: str
    position: int
    token: str
    display: str
    state_seconds: float
    state_bytes: int
    picture_seconds: float | None = None
    picture_bytes: int | None = None
    picture_hash: int | None = None
    answer_seconds: float = 0.0


@dataclass
class RecordingReader:
    """A reader who requests the state, the picture and the acknowledgement of each case."""

    code: str
    send: Send
    showings: list[Showing] = field(default_factory=list)

    def begin(self) -> None:
        """Consent and read the instructions."""
        self._request("POST", "consent", {})
        self._request("POST", "begin", {})

    def read_case(self, answer: int) -> bool:
        """Read one case; return False when none is left."""
        started = time.perf_counter()
        status, content = self.send("GET", "/expert/read/state", None)
        seconds = time.perf_counter() - started
        state = json.loads(content)
        if status != 200 or state.get("stage") != "case":
            return False
        case = state["case"]
        shown = Showing(
            reader=self.code,
            position=len(self.showings) + 1,
            token=case["token"],
            display=f"{bool(case['texts'])} {(case['image'] or {}).get('kind')}",
            state_seconds=seconds,
            state_bytes=len(content) - _displayed_bytes(case),
        )
        if case["image"]:
            started = time.perf_counter()
            status, image = self.send("GET", case["image"]["url"], None)
            shown.picture_seconds = time.perf_counter() - started
            if status != 200:
                raise RuntimeError(f"a picture was answered with status {status}")
            shown.picture_bytes = len(image)
            shown.picture_hash = _number_of(image)
        body = {"token": case["token"], "answer": answer, "seconds": 1.0}
        started = time.perf_counter()
        self._request("POST", "answer", body)
        shown.answer_seconds = time.perf_counter() - started
        self.showings.append(shown)
        return True

    def _request(self, method: str, path: str, body: dict[str, Any]) -> None:
        status, content = self.send(method, f"/expert/read/{path}", json.dumps(body).encode())
        if status != 200:
            raise RuntimeError(f"{path} was answered with status {status}: {content[:200]!r}")


def _displayed_bytes(case: dict[str, Any]) -> int:
    """Return the size of what the page displays, such as texts and number: it is no secret."""
    displayed = {name: value for name, value in case.items() if name not in ("token", "image")}
    text = json.dumps(displayed, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode())


def _number_of(image: bytes) -> int:
    """Return a number that depends on all bytes of an image."""
    return int.from_bytes(hashlib.sha256(image).digest()[:6], "big")


def http_send(port: int, token: str) -> Send:
    """Sign in at a server and return the function that sends requests on one kept connection."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers: dict[str, str] = {"Content-Type": "application/x-www-form-urlencoded"}

    def send(method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Return status and body of the response, and keep the session that it begins."""
        try:
            line.request(method, path, body, headers)
            reply = line.getresponse()
        except http.client.RemoteDisconnected:  # the server ends connections that were not used
            line.close()
            line.request(method, path, body, headers)
            reply = line.getresponse()
        if cookie := reply.getheader("set-cookie"):
            headers["Cookie"] = cookie.split(";")[0]
        return reply.status, reply.read()

    status, _ = send("POST", "/enter", f"token={token}".encode())
    if status != 303:
        raise RuntimeError(f"the sign-in was answered with status {status}")
    headers["Content-Type"] = "application/json"
    return send


def read_in_turn(readers: list[RecordingReader], seed: int = 1) -> None:
    """Let readers read all cases in a random alternation, so that each meets cases of the others.

    The alternation is recorded by the times of the answers in the store.
    """
    rng = random.Random(seed)
    active = list(readers)
    while active:
        reader = rng.choice(active)
        if not reader.read_case(rng.randint(1, 6)):
            active.remove(reader)


def drop_cached_files(study: Path) -> None:
    """Ask the operating system to forget the files of a study, as after a restart (Linux)."""
    os.sync()
    for path in study.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def join_with_key(study: Path, readers: list[RecordingReader]) -> pd.DataFrame:
    """Return the showings of real cases with the key.

    Columns: those of `Showing`, truth, score, arm, repeat, shown (the picture, or the case without
    one, was shown before, to any reader), colleague (another reader has answered the case before).
    """
    with store.read(study) as con:
        items = reading_table.load_reading_items(con, NAME, 1)
        cases = reading_table.load_reading_cases(con, NAME, 1).set_index("case_number")
        answer_times = con.execute(
            "SELECT code AS reader, position, made FROM answers WHERE revision = 1"
        ).df()
    table = pd.DataFrame([vars(shown) for reader in readers for shown in reader.showings])
    table = table.merge(items.rename(columns={"code": "reader"}), on=["reader", "position"])
    table = table.merge(answer_times, on=["reader", "position"])
    table = table[~table["practice"]].sort_values(["made", "reader", "position"])
    table["order"] = table["position"]
    for name, column in (("truth", "truth"), ("score", "network_score"), ("arm", "arm")):
        table[name] = cases.loc[table["case_number"], column].to_numpy()
    table["truth"] = table["truth"] == "MALIGNANT"
    mammogram = cases.loc[table["case_number"], "mammogram_id"].to_numpy()
    has_picture = table["picture_seconds"].notna()
    content = np.where(
        has_picture, table["display"].str.split().str[1] + mammogram, "case" + mammogram
    )
    table["shown"] = pd.Series(content, index=table.index).duplicated()
    table["colleague"] = _read_by_colleague(table)
    return table.reset_index(drop=True)


def _read_by_colleague(table: pd.DataFrame) -> list[bool]:
    """Return for each showing, in order of time, whether another reader answered its case."""
    answered: dict[int, set[str]] = {}
    result = []
    for reader, case in zip(table["reader"], table["case_number"]):
        others = answered.setdefault(case, set())
        result.append(bool(others - {reader}))
        others.add(reader)
    return result
