# SPDX-License-Identifier: BSD-2-Clause
"""The documentation says what the code says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_tables import problems, rows

from models.reference import reference
from sim.serve.command import MEMORY_MB
from sim.serve.qemu import device_argument, memory_arguments

ROOT = Path(__file__).resolve().parent.parent

WITH_TEST_IDS = ("conformance.md", "defects.md", "pcie-checklist.md", "reset.md")
"""Documents each of whose tables' rows names its test."""
OTHERS = {".venv", ".cache", "build"}
"""Folders with what is not ours."""
REQUIREMENTS = {"COM": 4, "BUS": 61, "DRV": 73, "DEV": 74}
"""How many requirements of transport revision 1 there are, by whom they bind: COM-01 to COM-04."""


def test_reference_is_current():
    page = (ROOT / "docs" / "reference.md").read_text()
    assert page == reference(), "run: .venv/bin/python -m models reference > docs/reference.md"


@pytest.mark.parametrize("name", WITH_TEST_IDS)
def test_every_row_names_its_test(name):
    assert problems((ROOT / "docs" / name).read_text()) == []


def test_conformance_has_every_requirement():
    page = (ROOT / "docs" / "conformance.md").read_text()
    table = [row for row in rows(page) if "requirement" in row.cells]
    wanted = [f"{who}-{n:02}" for who, count in REQUIREMENTS.items() for n in range(1, count + 1)]
    assert [row.cells["id"] for row in table] == wanted and len(wanted) == 212
    assert all(row.cells["requirement"] for row in table)


def test_readme_example_of_decode():
    readme = (ROOT / "README.md").read_text()
    found = re.search(r"^\$ \.venv/bin/python -m models decode (\w+)\n(.+)$", readme, re.MULTILINE)
    assert found is not None
    command = [sys.executable, "-m", "models", "decode", found[1]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == found[2]


def test_readme_driver_is_the_one_that_is_tested():
    readme = (ROOT / "README.md").read_text()
    found = re.search(r"^```python\n(.+?)^```", readme, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert found[1] in (ROOT / "tests" / "regressions" / "own_driver.py").read_text()


def test_the_line_for_qemu_is_what_the_server_prints():
    page = (ROOT / "docs" / "guest.md").read_text()
    assert " ".join(memory_arguments(MEMORY_MB)) + " \\\n" in page
    assert f"-device '{device_argument(Path('/tmp/amp.sock'))}'\n" in page


@pytest.mark.parametrize("name", ["README.md", "docs/guest.md"])
def test_pages_name_what_exists(name):
    readme = (ROOT / name).read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make (\w+)|`make (\w+)`", readme, re.MULTILINE)):
        name = next(filter(None, target))
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), f"make {name}"
    for path in re.findall(r"`((?:hdl|models|testbench|sim|tests)/[\w/.]*)`", readme):
        assert (ROOT / path).exists(), path


def test_every_source_file_names_its_licence():
    files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if files.returncode:
        sources = [path for path in ROOT.rglob("*.py") if not OTHERS & {*path.parts}]
    else:
        sources = [ROOT / name for name in files.stdout.split()]
    kinds = {".py", ".v", ".vlt", ".c", ".h"}
    for path in sources:
        if path.suffix in kinds or path.name in ("Makefile", "Kbuild", "run"):
            head = path.read_text().splitlines()[:3]
            assert any("SPDX-License-Identifier: BSD-2-Clause" in line for line in head), path
