# SPDX-License-Identifier: BSD-2-Clause
"""What the how-to pages show works, in a copy of the project."""

import re
import shutil

import pytest
from how_to import ROOT, carry_out, changed, copy_project, run, shown_files, steps

from formal import solver
from sim.toolchain import add_own_programs

PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_works(page, tmp_path, pytestconfig):
    text = page.read_text()
    add_own_programs()
    if "-m formal" in text and not shutil.which(solver.SBY[0]):
        pytest.skip("the solver is not installed: make formal installs it")
    folder = tmp_path / "project"
    copy_project(folder)
    carry_out(text, folder, builds=pytestconfig.getoption("--regress"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_fits_a_page_and_every_block_is_carried_out(page):
    text = page.read_text()
    assert len(text.splitlines()) <= 150
    assert len(list(steps(text))) == len(re.findall("^```", text, re.MULTILINE)) / 2


@pytest.mark.regress(reason="builds the gateware with waves")
def test_readme_shows_what_the_demo_prints(tmp_path):
    folder = tmp_path / "project"
    copy_project(folder)
    page = (ROOT / "README.md").read_text()
    shown = [text for text in re.findall(r"^```\n(.*?)^```", page, re.M | re.S) if "─►" in text]
    output = run(".venv/bin/python -m sim demo", folder)
    printed = {line.rstrip() for line in output.splitlines()}
    demo = [text for text in shown if not text.startswith(" ")]
    assert len(demo) == 2
    for text in demo:
        assert [line for line in text.splitlines() if line not in printed] == []


def test_readme_lists_every_page():
    listed = re.findall(r"\]\(docs/how-to/([\w-]+)\.md\)", (ROOT / "README.md").read_text())
    assert sorted(listed) == [page.stem for page in PAGES]


PAGE = """
Add `a/b.py`:

```python
x = 1
```

In `c.py`:

```diff
 one
-two
+three
```

Then run

```sh
make x -o a/out.v
```

which prints

```
done
```
"""


def test_steps_of_a_page():
    kinds = [(step.kind, step.path) for step in steps(PAGE)]
    assert kinds == [("file", "a/b.py"), ("diff", "c.py"), ("command", ""), ("output", "")]
    assert shown_files(PAGE) == ["a/b.py", "a/out.v"]


def test_change_applies_each_hunk_once():
    assert changed("one\ntwo\nsix\n", " one\n-two\n+three\n@@\n-six\n+ten\n") == "one\nthree\nten\n"
    with pytest.raises(ValueError, match="occurs 0 times"):
        changed("one\n", "-two\n+three\n")
    with pytest.raises(ValueError, match="occurs 2 times"):
        changed("two\ntwo\n", "-two\n+three\n")


def test_failing_command_and_missing_output_are_reported(tmp_path):
    with pytest.raises(AssertionError, match="false"):
        carry_out("Run\n\n```sh\nfalse\n```\n", tmp_path, builds=True)
    page = "Run\n\n```sh\necho x\n```\n\nIt prints\n\n```\ny\n```\n"
    with pytest.raises(AssertionError, match="not printed: y"):
        carry_out(page, tmp_path, builds=True)


def test_command_that_builds_is_left_to_make_regress(tmp_path):
    page = "Run\n\n```sh\n# Builds the gateware: minutes.\nfalse\n```\n\nprints\n\n```\nx\n```\n"
    carry_out(page, tmp_path, builds=False)
    with pytest.raises(AssertionError):
        carry_out(page, tmp_path, builds=True)
