# SPDX-License-Identifier: BSD-2-Clause
"""``make words`` finds each listed word, across line breaks, and only whole words."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / ".relint.yml"
RULES = {rule["name"]: rule for rule in yaml.safe_load(CONFIG.read_text())}
PHRASES = [name for name in RULES if name != "no more"]


def matches(name, text):
    return re.search(RULES[name]["pattern"], text) is not None


def run(*files):
    return subprocess.run(
        [sys.executable, "-m", "relint", "--config", CONFIG, "--summarize", *files],
        capture_output=True,
        text=True,
        check=False,
        # Wide enough for the path of a temporary file in one line.
        env={**os.environ, "COLUMNS": "400"},
    )


@pytest.mark.parametrize("name", PHRASES)
def test_phrase_is_found(name):
    assert matches(name, f"It {name} x.")
    assert matches(name, f"{name[0].upper()}{name[1:]}: x.")


@pytest.mark.parametrize("name", [name for name in PHRASES if " " in name])
@pytest.mark.parametrize("line_break", ["\n", "\n    # ", "\n * ", '"\n        "', ' "\n  "'])
def test_phrase_is_found_across_a_line_break(name, line_break):
    assert matches(name, name.replace(" ", line_break))


@pytest.mark.parametrize("name", PHRASES)
def test_part_of_a_word_is_not_found(name):
    assert not matches(name, f"x{name}")
    assert not matches(name, f"{name}x")


@pytest.mark.parametrize(
    "text", ["value is None", "for every FIFO", "but forwards", "to no endpoint"]
)
def test_similar_text_is_not_found(text):
    assert not [name for name in RULES if matches(name, text)]


@pytest.mark.parametrize(
    "following, found",
    [
        (".", True),
        (" once it is accepted", True),
        ("\n    # until then", True),
        (" than 4 KiB", False),
        (" completions arrive", False),
    ],
)
def test_no_more_is_found_where_it_means_no_longer(following, found):
    assert matches("no more", f"valid no more{following}") == found


def test_a_match_is_reported_with_file_line_and_rule(tmp_path):
    clean, file = tmp_path / "clean.py", tmp_path / "x.py"
    clean.write_text("# Unbounded.\n")
    assert run(clean).returncode == 0
    file.write_text('"""A docstring.\n\nThis holds for\never.\n"""\n')
    found = run(clean, file)
    assert found.returncode == 1
    assert "Error: for " in found.stdout and RULES["for" + " ever"]["hint"] in found.stdout
    assert "x.py:3" in found.stdout


def test_lint_checks_sources_and_documents():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^lint: .*\bwords\b", makefile, re.MULTILINE)
    listed = subprocess.run(
        ["make", "--no-print-directory", "-s", "--dry-run", "-o", ".venv/.ready", "words"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for pattern in ("'*.py'", "'*.md'", "'*.c'", "'*.h'", "'*.core'", "'*.toml'", "Makefile"):
        assert pattern in listed
