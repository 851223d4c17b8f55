# SPDX-License-Identifier: BSD-2-Clause
"""The documentation agrees with the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_tables import problems, rows
from how_to import shown_files

from hdl.block_options import BlockOptions
from hdl.dma.limits import TAGS
from hdl.verilog import SHIMS, TOPS
from models.layout import SPSC_PAGES
from models.reference import reference
from models.shell import AMP_PCI
from sim.vm.serve.command import MEMORY_MB
from sim.vm.serve.qemu import device_argument, memory_arguments

ROOT = Path(__file__).resolve().parent.parent

WITH_TEST_IDS = ("conformance.md", "defects.md", "pcie-checklist.md", "reset.md")
"""Documents in which every row of every table names its test."""
OTHERS = {".venv", ".cache", "build"}
"""Folders whose files are not the project's."""
REQUIREMENTS = {"COM": 4, "BUS": 61, "DRV": 73, "DEV": 74}
"""Number of requirements of transport revision 1 by the party that they bind: COM-01 to COM-04."""


def test_reference_is_current():
    page = (ROOT / "docs" / "reference.md").read_text()
    assert page == reference(), "run: .venv/bin/python -m models reference > docs/reference.md"


@pytest.mark.parametrize("name", WITH_TEST_IDS)
def test_every_row_names_its_test(name):
    assert problems((ROOT / "docs" / name).read_text()) == []


def test_every_hard_block_promise_names_its_test():
    page = (ROOT / "docs" / "hard-blocks.md").read_text()
    assert problems(page, every_table=False) == []
    # The page names every test of the module, and no other.
    promised = set(re.findall(r"tests/regressions/hard_block\.py::(\w+)", page))
    tested = (ROOT / "tests" / "regressions" / "hard_block.py").read_text()
    assert promised == set(re.findall(r"@cocotb\.test.*?^async def (\w+)", tested, re.M | re.S))


def test_hard_block_settings_match_the_endpoint():
    table = {
        row.cells["setting"]: row.cells["value"]
        for row in rows((ROOT / "docs" / "hard-blocks.md").read_text())
        if set(row.cells) == {"setting", "value"}
    }
    ids = (AMP_PCI.vendor_id, AMP_PCI.device_id, AMP_PCI.revision)
    numbers = [int(number, 16) for number in table["Vendor ID, Device ID, Revision ID"].split(",")]
    assert (*numbers, int(table["Class code"], 16)) == (*ids, AMP_PCI.class_code)
    subsystem = [int(n, 16) for n in table["Subsystem Vendor ID, Subsystem ID"].split(",")]
    assert subsystem == [AMP_PCI.subsystem_vendor_id, AMP_PCI.subsystem_id]
    assert table["extended tags"].startswith(f"on or off: reads have tags 0 to {TAGS - 1}.")
    for bar, size in AMP_PCI.bar_sizes(1, SPSC_PAGES).items():
        kind = "" if bar == AMP_PCI.fifo_bar else "not "
        expected = f"memory, 32 bits, {kind}prefetchable, {size // 1024} KiB"
        assert table[f"BAR{bar}"].startswith(expected)
    prefix = f"BAR{AMP_PCI.msix_bar} at 0x"
    table_at, pending_at = AMP_PCI.msix_table_offset, AMP_PCI.msix_pba_offset
    assert f"{prefix}{table_at:03x}" in table["MSI-X"]
    assert f"{prefix}{pending_at:03x}" in table["MSI-X"]


def test_hard_blocks_page_lists_every_top_and_option():
    page = (ROOT / "docs" / "hard-blocks.md").read_text()
    listed = {row.cells["top"].strip("`") for row in rows(page) if "top" in row.cells}
    assert listed == {*TOPS, *SHIMS}
    options = {row.cells["option"] for row in rows(page) if "option" in row.cells}
    assert options == {"none", *(f"`{option}`" for option in BlockOptions.names())}


def test_conformance_has_every_requirement():
    page = (ROOT / "docs" / "conformance.md").read_text()
    table = [row for row in rows(page) if "requirement" in row.cells]
    expected = [
        f"{party}-{n:02}" for party, count in REQUIREMENTS.items() for n in range(1, count + 1)
    ]
    assert [row.cells["id"] for row in table] == expected and len(expected) == 212
    assert all(row.cells["requirement"] for row in table)


def test_readme_decode_example_is_current():
    readme = (ROOT / "README.md").read_text()
    match = re.search(r"^\$ \.venv/bin/python -m models decode (\w+)\n(.+)$", readme, re.MULTILINE)
    assert match is not None
    command = [sys.executable, "-m", "models", "decode", match[1]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == match[2]


def test_readme_driver_is_a_regression():
    readme = (ROOT / "README.md").read_text()
    match = re.search(r"^```python\n(.+?)^```", readme, re.MULTILINE | re.DOTALL)
    assert match is not None
    assert match[1] in (ROOT / "tests" / "regressions" / "own_driver.py").read_text()


def test_guest_page_has_the_qemu_arguments_of_the_server():
    page = (ROOT / "docs" / "guest.md").read_text()
    assert " ".join(memory_arguments(MEMORY_MB)) + " \\\n" in page
    assert f"-device '{device_argument(Path('/tmp/amp.sock'))}'\n" in page


PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    # The changelog names what has been removed; the other page is generated.
    if path.name not in ("CHANGELOG.md", "figures.md")
)
FOLDERS = ("hdl", "models", "testbench", "sim", "formal", "synth", "figures", "tests", "docs")
"""Folders of which a page names paths."""


def paths(page, text):
    """Paths that a page names, except those of files that it shows."""
    named = re.findall(rf"(?<![\w/.-])((?:{'|'.join(FOLDERS)})/[\w/.-]*[\w/])(?![\w*])", text)
    return set(named) - set(shown_files(text))


@pytest.mark.parametrize("name", PAGES)
def test_page_names_existing_targets_and_paths(name):
    page = (ROOT / name).read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^(?:.*`)?make (\w+)", page, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for path in paths(name, page):
        assert (ROOT / path).exists(), path


def anchors(text):
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_existing_pages_and_headings(name):
    page = ROOT / name
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_architecture_names_every_package_and_every_module_of_the_gateware():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for layer in ("hdl", "models", "testbench", "sim"):
        for marker in (ROOT / layer).rglob("__init__.py"):
            package = marker.parent.relative_to(ROOT)
            assert f"{package}/" in page, package
    for module in (ROOT / "hdl").rglob("*.py"):
        if not module.name.startswith("__"):
            assert str(module.relative_to(ROOT)) in page, module


def test_readme_picture_leads_to_the_architecture():
    readme = (ROOT / "README.md").read_text()
    picture = readme.split("```")[1]
    named = paths("README.md", picture)
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert len(named) > 10
    for path in named:
        assert path.removesuffix("/") in page, path


def test_every_source_file_names_its_licence():
    files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if files.returncode:
        sources = [path for path in ROOT.rglob("*.py") if not OTHERS & {*path.parts}]
    else:
        sources = [ROOT / name for name in files.stdout.split()]
    kinds = {".py", ".v", ".vlt", ".core", ".c", ".h"}
    for path in sources:
        if path.suffix in kinds or path.name in ("Makefile", "Kbuild", "run"):
            head = path.read_text().splitlines()[:3]
            assert any("SPDX-License-Identifier: BSD-2-Clause" in line for line in head), path
