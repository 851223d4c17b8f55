# SPDX-License-Identifier: BSD-2-Clause
"""The check of the documents' tables reports each kind of problem."""

import pytest
from doc_tables import REGRESSIONS, problems

HEADER = "| id | rule | test |\n| --- | --- | --- |\n"
TESTS = {
    "tests/test_x.py": """
import pytest

def test_plain(): pass

@pytest.mark.parametrize("a", [1])
def test_many(a): pass

class TestClass:
    def test_inside(self): pass

def helper(): pass
""",
    "tests/support.py": "def test_not_collected(): pass\n",
    f"{REGRESSIONS}/run.py": """
import cocotb

@cocotb.test(timeout_time=5, timeout_unit="ms")
async def decorated(dut): pass

@cocotb.parametrize(name=[1])
async def several(dut, name): pass

async def helper(dut): pass
""",
    f"{REGRESSIONS}/forgotten.py": """
import cocotb

@cocotb.test
async def decorated(dut): pass
""",
}


@pytest.fixture
def check(tmp_path):
    for name, text in TESTS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return lambda text: problems(text, tmp_path, ["run"])


@pytest.mark.parametrize(
    "cell",
    [
        "`tests/test_x.py::test_plain`",
        "tests/test_x.py::test_plain",
        "`tests/test_x.py::test_many[1]`",
        "`tests/test_x.py::test_many[1, 2]`, `tests/test_x.py::test_plain`",
        "`tests/test_x.py::TestClass::test_inside`",
        "`tests/regressions/run.py::decorated`<br>`tests/regressions/run.py::several`",
        "`tests/regressions/run.py::several[1]`",
        "does not apply: there is no port for it",
    ],
)
def test_valid_rows_have_no_problem(check, cell):
    assert check(f"# A page\n\n{HEADER}| A1 | a \\| b | {cell} |\n") == []


@pytest.mark.parametrize(
    "cell, problem",
    [
        ("", "line 3, A1: neither a test nor a reason: ''"),
        ("does not apply:", "nor a reason"),
        ("yes", "neither a test nor a reason: 'yes'"),
        ("tests/test_x.py", "neither a test nor a reason: 'tests/test_x.py'"),
        ("tests/test_y.py::test_plain", "tests/test_y.py does not exist"),
        ("tests/test_x.py::test_other", "tests/test_x.py has no test_other"),
        ("tests/test_x.py::test_inside", "tests/test_x.py has no test_inside"),
        ("tests/test_x.py::TestClass::test_plain", "tests/test_x.py has no test_plain"),
        ("tests/test_x.py::TestClass", "TestClass of tests/test_x.py is not a test"),
        ("tests/test_x.py::helper", "helper of tests/test_x.py is not a test"),
        ("tests/support.py::test_not_collected", "pytest does not collect tests/support.py"),
        ("tests/regressions/run.py::helper", "is not a cocotb test"),
        ("tests/regressions/run.py::absent", "has no absent"),
        ("tests/regressions/forgotten.py::decorated", "does not run forgotten"),
        ("`tests/test_x.py::test_plain`, `tests/test_x.py::gone`", "has no gone"),
    ],
)
def test_invalid_test_cell_is_reported(check, cell, problem):
    found = check(f"{HEADER}| A1 | rule | {cell} |\n")
    assert len(found) == 1
    assert problem in found[0]


def test_repeated_id_is_reported(check):
    row = "| A1 | rule | `tests/test_x.py::test_plain` |\n"
    text = f"{HEADER}{row}\nMore.\n\n{HEADER}{row}"
    assert check(text) == ["line 9: id A1 repeats that of line 3"]


def test_missing_id_is_reported(check):
    assert check(f"{HEADER}|  | rule | does not apply: no port |\n") == ["line 3: no id"]


def test_missing_column_is_reported(check):
    assert check("| id | rule |\n| --- | --- |\n| A1 | rule |\n") == ["line 3: no column test"]


def test_wrong_number_of_cells_is_reported(check):
    assert check(f"{HEADER}| A1 | rule |\n") == ["line 3: 2 cells under 3 columns"]


def test_missing_line_of_dashes_is_reported(check):
    assert check("| id | test |\n| A1 | does not apply: x |\n") == [
        "line 2: a table's header without a line of dashes"
    ]


def test_page_without_table_is_reported(check):
    assert check("```\n| id | test |\n| --- | --- |\n| A1 | x |\n```\n") == ["there is no table"]
