# SPDX-License-Identifier: BSD-2-Clause
"""Both tops elaborate without deprecation warnings under the newest Amaranth on PyPI."""

import subprocess
import venv
from pathlib import Path

import pytest

from hdl.verilog import MODULE_NAMES, TOPS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def newest(tmp_path_factory):
    """Python of an environment with the newest Amaranth and its version."""
    folder = tmp_path_factory.mktemp("newest")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "--disable-pip-version-check", "--retries", "1"]
    install += ["install", "--quiet", "--upgrade", "amaranth[builtin-yosys]"]
    process = subprocess.run(install, capture_output=True, text=True, check=False)
    if "(from versions: none)" in process.stderr:
        pytest.skip(f"PyPI cannot be reached: {process.stderr.splitlines()[-1]}")
    assert process.returncode == 0, process.stderr
    show = [python, "-c", "import amaranth; print(amaranth.__version__)"]
    version = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
    return python, version


@pytest.mark.regress(reason="installs the newest Amaranth")
@pytest.mark.parametrize("top", sorted(TOPS))
def test_top_elaborates_under_newest_amaranth(top, newest, tmp_path):
    python, version = newest
    file = tmp_path / "top.v"
    errors = ["-W", "error::DeprecationWarning", "-W", "error::PendingDeprecationWarning"]
    process = subprocess.run(
        [python, *errors, "-m", "hdl", "--top", top, "-o", file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, f"Amaranth {version}: {process.stderr}"
    assert f"module {MODULE_NAMES[top]}(" in file.read_text()
