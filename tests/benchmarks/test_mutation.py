"""Mutation analysis: operators, sample, recorded tests and runs, on a program made here."""

from __future__ import annotations

import ast
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.mutation import __main__ as program
from benchmarks.mutation import runs
from benchmarks.mutation.operators import generate_mutants, mutated_source
from benchmarks.mutation.page import format_page
from benchmarks.mutation.records import RecordFolder, select_tests
from benchmarks.mutation.runs import MutantResult, ResultFile, copy_project, run_mutant
from benchmarks.mutation.sampling import package_of, sample_mutants
from support.paths import ROOT

PROGRAM = {
    "shop/__init__.py": "",
    "shop/age.py": """
        LIMIT = 18


        def is_adult(age):
            return age >= LIMIT


        def count_down(number):
            while number > 0:
                number = number - 1
            return number


        def unused(number):
            return -number
        """,
    "tests/test_age.py": """
        import pytest
        from shop import age


        @pytest.fixture(scope="module")
        def adult():
            return age.is_adult(30)


        def test_adult(adult):
            assert adult


        def test_again(adult):
            assert adult is True


        def test_count_down():
            assert age.count_down(3) == 0


        def test_fails_without_mutant():
            assert age.unused(1) == 1
        """,
}


def write_program(root: Path) -> None:
    for name, text in PROGRAM.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.splitlines()[1:]
        path.write_text("".join(f"{line[8:]}\n" for line in lines))


def changes(tmp_path: Path, source: str) -> set[tuple[str, str, str]]:
    (tmp_path / "a.py").write_text(source)
    return {(m.operator, m.before, m.after) for m in generate_mutants(tmp_path, "a.py")}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", {("comparison", "a < b", "a <= b"), ("comparison", "a < b", "a >= b")}),
        (
            "x = a in (b, 'c', 'd')",
            {("comparison", "a in (b, 'c', 'd')", "a not in (b, 'c', 'd')")},
        ),
        ("x = a - b", {("arithmetic", "a - b", "a + b")}),
        ("x = 'a' + b", set()),
        ("a += b", {("arithmetic", "a += b", "a -= b")}),
        ("x = 2 * a", {("arithmetic", "2 * a", "2 / a"), ("constant", "2 * a", "3 * a")}),
        ("x = 0.5", {("constant", "0.5", "1.0")}),
        ("x = True", {("constant", "True", "False")}),
        ("x = a and b", {("and/or", "a and b", "a or b")}),
        ("x = not a", {("not", "not a", "a")}),
        ("x = min(a)", {("function", "min(a)", "max(a)")}),
        ("f(a, b)", {("arguments", "f(a, b)", "f(b, a)"), ("call", "f(a, b)", "pass")}),
        ("x = f(low=a, high=b)", {("arguments", "f(low=a, high=b)", "f(low=b, high=a)")}),
        ("x = f(a, width=3)", set()),
        ("x = ['a', 'b']", {("columns", "['a', 'b']", "['b', 'a']")}),
        ("x = {'a': b, 'c': d}", {("columns", "{'a': b, 'c': d}", "{'a': d, 'c': b}")}),
        ("x = (r['a'], r['b'])", {("columns", "'a', 'b'", "'b', 'a'")}),
        ("x = (r.a, r.b)", {("columns", "a, b", "b, a")}),
        ("x = [a for a in b if a]", {("condition", "a", "True")}),
        ("x = b if a else c", {("condition", "a", "True"), ("condition", "a", "False")}),
        ("if a:\n    pass", {("condition", "a", "True"), ("condition", "a", "False")}),
        ("raise ValueError(1, 2)", set()),
        ("'a text'", set()),
        ("x: f(1) = a", set()),
        ("if TYPE_CHECKING:\n    x = 1", {("condition", "TYPE_CHECKING", "True")}),
    ],
)
def test_operators(tmp_path, source, expected):
    if source.startswith("if TYPE_CHECKING"):
        expected = expected | {("condition", "TYPE_CHECKING", "False")}
    assert changes(tmp_path, source) == expected


def test_functions_defaults_and_returned_values(tmp_path):
    (tmp_path / "a.py").write_text(
        "class A:\n    size: int = 3\n\n    @cache(8)\n    def b(self, c=True, *, d=2):\n"
        "        def inner():\n            return c\n\n        return inner\n"
    )
    mutants = generate_mutants(tmp_path, "a.py")
    assert [(m.function, m.operator, m.before, m.after, m.line) for m in mutants] == [
        ("<module>", "constant", "3", "4", 2),
        ("<module>", "default", "True", "False", 5),
        ("<module>", "default", "2", "3", 5),
        ("A.b", "return", "return c", "return None", 7),
        ("A.b", "return", "return inner", "return None", 9),
    ]
    assert "size: int = 4" in mutated_source(tmp_path, mutants[0])
    assert mutated_source(tmp_path, mutants[4]).count("return None") == 1


def test_equal_mistakes_are_counted(tmp_path):
    (tmp_path / "a.py").write_text("x = a + b\ny = a + b\n")
    first, second = generate_mutants(tmp_path, "a.py")
    assert (first.number, second.number) == (1, 2)
    assert mutated_source(tmp_path, first) == "x = a - b\ny = a + b"
    assert mutated_source(tmp_path, second) == "x = a + b\ny = a - b"


def test_each_mutant_of_a_module_compiles_and_differs():
    path = "evaluation/resampling.py"
    original = ast.unparse(ast.parse((ROOT / path).read_text()))
    mutants = generate_mutants(ROOT, path)
    assert len({mutant.identity for mutant in mutants}) == len(mutants) > 50
    for mutant in mutants[::10]:
        source = mutated_source(ROOT, mutant)
        compile(source, path, "exec")
        assert source != original, mutant.identity


def test_sample_is_spread_and_reproducible(tmp_path):
    for name, functions in (("a/b/c/d.py", 30), ("a/e.py", 5), ("a/f/g.py", 5)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"def f{i}(x):\n    return x + {i}\n" for i in range(functions)))
    sample = sample_mutants(tmp_path, ["a"], 40, seed=1)
    # 60, 10 and 10 lines of 80; at most one mutant a statement.
    assert {package: len(drawn) for package, drawn in sample.items()} == {
        "a": 5,
        "a/b": 30,
        "a/f": 5,
    }
    assert sample == sample_mutants(tmp_path, ["a"], 40, seed=1)
    small = {seed: sample_mutants(tmp_path, ["a"], 8, seed)["a/b"] for seed in (1, 2)}
    assert small[1] == sample["a/b"][:6] and small[1] != small[2]
    assert package_of("a/b/c/d.py") == "a/b"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Return the program's root, a copy of it, and its recorded tests."""
    root = tmp_path_factory.mktemp("shop")
    write_program(root)
    (root / ".gitignore").write_text("ignored.txt\n")
    (root / "ignored.txt").write_text("not copied")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    tree = root.with_name("copy")
    copy_project(root, tree)
    records = RecordFolder(root.with_name("records"))
    assert records.missing(tree, "tests") == ["tests/test_age.py"]
    records.add(tree, "tests/test_age.py", ["shop"], {})
    assert records.missing(tree, "tests") == []
    return root, tree, records


def test_copy_has_no_ignored_files(shop):
    root, tree, _ = shop
    assert (tree / "shop/age.py").read_bytes() == (root / "shop/age.py").read_bytes()
    assert not (tree / "ignored.txt").exists() and not (tree / ".git").exists()


def test_records_name_the_functions_of_tests_and_shared_fixtures(shop):
    _, tree, records = shop
    entered = {
        record.node.split("::")[1]: set(record.entered) for record in records.load(tree, "tests")
    }
    # The failing test could notice nothing. The fixture is set up once and counts for both tests.
    assert entered == {
        "test_adult": {"shop/age.py::is_adult"},
        "test_again": {"shop/age.py::is_adult"},
        "test_count_down": {"shop/age.py::count_down"},
    }


def test_records_of_a_changed_test_file_are_missing(shop, tmp_path):
    _, tree, records = shop
    changed = tmp_path / "tests" / "test_age.py"
    changed.parent.mkdir()
    changed.write_text((tree / "tests/test_age.py").read_text() + "\n")
    assert records.missing(tmp_path, "tests") == ["tests/test_age.py"]


@pytest.mark.parametrize(
    ("before", "after", "outcome", "test", "tests"),
    [
        ("age >= LIMIT", "age < LIMIT", runs.NOTICED, "tests/test_age.py::test_adult", 2),
        ("age >= LIMIT", "age > LIMIT", runs.SURVIVED, "", 2),
        ("number - 1", "number + 1", runs.TIMED_OUT, "", 1),
        ("return -number", "return None", runs.UNTESTED, "", 0),
    ],
)
def test_outcomes(shop, monkeypatch, before, after, outcome, test, tests):
    _, tree, records = shop
    if outcome == runs.TIMED_OUT:
        monkeypatch.setattr(runs, "MIN_LIMIT_S", 4)
    original = (tree / "shop/age.py").read_bytes()
    (mutant,) = (
        mutant
        for mutant in generate_mutants(tree, "shop/age.py")
        if (mutant.before, mutant.after) == (before, after)
    )
    result = run_mutant(tree, mutant, records.load(tree, "tests"), {})
    assert (result.outcome, result.test, result.tests) == (outcome, test, tests)
    assert (tree / "shop/age.py").read_bytes() == original


def test_tests_of_the_namesake_come_first(shop):
    _, tree, records = shop
    (mutant, *_) = generate_mutants(tree, "shop/age.py")
    nodes = [record.node for record in select_tests(records.load(tree, "tests"), mutant)]
    # A constant of the module can matter to any test that enters one of its functions.
    assert len(nodes) == 3


def test_a_file_of_constants_is_left_to_the_tests_of_its_folder(shop):
    _, tree, records = shop
    (tree / "shop/prices.py").write_text("CHILD = 3\n")
    (mutant,) = generate_mutants(tree, "shop/prices.py")
    (tree / "shop/prices.py").unlink()
    recorded = records.load(tree, "tests")
    assert len(select_tests(recorded, mutant)) == 3
    # Of a file where a test enters a function, all tests are taken: one may test a constant.
    first, *others = recorded
    without = [replace(r, entered=frozenset()) for r in others]
    assert len(select_tests([first, *without], mutant)) == 3
    without.append(replace(first, entered=frozenset()))
    assert not select_tests(without, mutant)
    named = replace(without[0], node="tests/test_prices.py::test_child")
    assert select_tests([*without, named], mutant) == [named]


def test_results_are_kept_and_the_page_counts_them(shop, tmp_path):
    _, tree, _ = shop
    mutants = generate_mutants(tree, "shop/age.py")
    outcomes = [runs.NOTICED, runs.SURVIVED, runs.TIMED_OUT, runs.UNTESTED, runs.SURVIVED]
    file = ResultFile(tmp_path / "results.jsonl")
    for mutant, outcome in zip(mutants, outcomes, strict=False):
        result = MutantResult(
            mutant=mutant.identity, outcome=outcome, test="", tests=1, seconds=1.0
        )
        file.add(result)
    again = ResultFile(tmp_path / "results.jsonl")
    assert again.results == file.results
    equivalent = {mutants[4].identity: "the same by definition"}
    page = format_page({1: {"shop": mutants}}, again.results, equivalent)
    left = len(mutants) - 5
    row = f"| shop | {len(mutants)} | {left} | 1 | 1 | 1 | 1 | 1 | 50 % |"
    assert row in page and row.replace("| shop |", "| all |") in page
    assert page.count("| survived |") == 2 and "the same by definition" in page


def test_main_continues_and_runs_slices(shop, tmp_path, monkeypatch):
    root, _, _ = shop
    values = {"ROOT": root, "FOLDERS": ("shop",), "STORE": root.parent, "SIZE": 4}
    paths = {"RESULTS": tmp_path / "results.jsonl", "PAGE": tmp_path / "page.md"}
    equivalent = tmp_path / "equivalent.json"
    equivalent.write_text("{}")
    for name, value in (values | paths | {"EQUIVALENT": equivalent}).items():
        monkeypatch.setattr(program, name, value)
    monkeypatch.setenv("DEEPMINER_DEMONSTRATION", str(tmp_path))
    called: list[str] = []

    def run(tree, mutant, tests, variables):
        assert len(tests) == 3 and (tree / "shop/age.py").is_file()
        called.append(mutant.identity)
        outcome = runs.SURVIVED if len(called) == 1 else runs.NOTICED
        return MutantResult(mutant=mutant.identity, outcome=outcome, test="", tests=1, seconds=1.0)

    def main(*arguments: str) -> list[str]:
        called.clear()
        monkeypatch.setattr("sys.argv", ["benchmarks.mutation", *arguments])
        assert program.main() == 0
        return list(called)

    monkeypatch.setattr(program, "run_mutant", run)
    sample = [m.identity for m in sample_mutants(root, ["shop"], 4, seed=1)["shop"]]
    assert main("--slice", "1/2") == sample[::2]
    assert main("--slice", "2/2") == sample[1::2]
    assert main() == []
    survivors = sample[:2]
    assert main("--again") == survivors
    equivalent.write_text(json.dumps({survivors[0]: "the same by definition"}))
    assert main("--again") == []
    assert main("--seed", "2", "--only", "elsewhere") == []
    text = paths["PAGE"].read_text()
    assert f"| shop | {len(sample)} | 0 | 1 | " in text and "## Seed 2" in text


def test_listed_equivalent_mutants_exist():
    for identity, reason in json.loads(program.EQUIVALENT.read_text()).items():
        path = identity.split("::")[0]
        assert any(m.identity == identity for m in generate_mutants(ROOT, path)), identity
        assert reason.strip()
