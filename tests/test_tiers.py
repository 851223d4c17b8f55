# SPDX-License-Identifier: BSD-2-Clause
"""``make regress`` runs every file that has tests for it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
# `make test` does not install the tools of the synthesis; CI has them when it comes to the regress.
USES = re.compile(r'mark\.regress\(|getoption\("--regress"\)|usefixtures\("installed_tools"\)')
MECHANISM = {Path("tests/conftest.py")}


def run_by_make_regress():
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    match = re.search(r"^REGRESS := (.*)$", text, re.MULTILINE)
    assert match is not None
    return [Path(name) for name in match[1].split()]


def test_every_file_with_long_tests_is_run_by_make_regress():
    listed = run_by_make_regress()
    assert all((ROOT / path).exists() for path in listed)
    users = {
        path.relative_to(ROOT)
        for path in (ROOT / "tests").rglob("*.py")
        if USES.search(path.read_text())
    } - MECHANISM
    missing = [
        user for user in users if not any(user == path or path in user.parents for path in listed)
    ]
    assert not missing
    unused = [path for path in listed if not any(path in (user, *user.parents) for user in users)]
    assert not unused
