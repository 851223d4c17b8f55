# SPDX-License-Identifier: BSD-2-Clause
"""The generated header, evaluated by a C compiler, against the models' codec."""

from __future__ import annotations

import re
import subprocess

import pytest

from models.layout import LIVE_PAGES, SMALL_PAGES, SPSC_PAGES, SharedLayout
from models.messages import V1
from models.messages.layouts import MessageKind
from models.shell import AMP_PCI
from sim.build import BuildConfiguration
from sim.vm.guest import facts
from sim.vm.guest.errors import ProgramError
from sim.vm.guest.program import SOURCES, compile_init

NUM_FIFOS = 3
PROGRAM = """
#include <stdint.h>
#include <stdio.h>
struct kind {{ uint8_t type, id; uint16_t size; const char *name; }};
#include "facts.h"
int main(void)
{{
{lines}
    return 0;
}}
"""


@pytest.fixture(scope="module")
def values(tmp_path_factory) -> dict[str, tuple[int, ...]]:
    """The values of all macros of numbers and text in C."""
    folder = tmp_path_factory.mktemp("facts")
    text = facts.header(BuildConfiguration(num_fifos=NUM_FIFOS))
    (folder / "facts.h").write_text(text)
    lines = []
    for name, body in re.findall(r"^#define (\w+) (.+)$", text, re.MULTILINE):
        if "struct kind" in body:
            lines.append(f'printf("{name} %d %d %d\\n", {name}.type, {name}.id, {name}.size);')
        elif re.fullmatch(r"\d+, \d+", body):
            lines.append(f'printf("{name} %d %d\\n", {name});')
        elif re.fullmatch(r"(0x)?[0-9a-f]+", body):
            lines.append(f'printf("{name} %lld\\n", (long long){name});')
        elif body.startswith("{"):
            array = f"const int list[] = {name};"
            lines.append(
                f"{{ {array} for (unsigned i = 0; i < sizeof list / sizeof *list; i++) "
                f'printf(i ? " %d" : "{name} %d", list[i]); puts(""); }}'
            )
        else:
            lines.append(
                f"for (const char *at = {name}; *at; at++) printf(at == {name} ? "
                f'"{name} %d" : " %d", *at); puts("");'
            )
    (folder / "print.c").write_text(PROGRAM.format(lines="\n".join(lines)))
    subprocess.run(
        ["gcc", "-Wall", "-Wno-format-security", "-o", folder / "print", folder / "print.c"],
        check=True,
    )
    output = subprocess.run([folder / "print"], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in output.splitlines()]
    return {row[0]: tuple(map(int, row[1:])) for row in rows}


def test_endpoint_constants_match_models(values):
    assert values["AMP_DEVICE_ID"] == (AMP_PCI.device_id,)
    assert values["AMP_FIFO_BAR_SIZE"] == (SPSC_PAGES.size(NUM_FIFOS),)
    assert values["AMP_DRIVER_QUEUE"] == (SPSC_PAGES.driver_queue_base(0),)
    assert values["AMP_VECTORS"] == (0, 1, 2)
    assert values["SPSC_CAPACITY"] == (62,)
    assert values["NETWORK_PEER_IP"] == (10, 0, 0, 2)
    assert bytes(values["CONSOLE_LINE"]).decode() == facts.CONSOLE_LINE


def test_message_fields_match_codec(values):
    checked = 0
    for layout in V1.messages:
        counts = {array.count for array in layout.arrays}
        numbers = {
            field.name: (0x1122334455667788 >> 8 * k) & field.maximum
            for k, field in enumerate(layout.fields)
            if field.name not in counts
        }
        arrays = {array.name: b"" if array.element_bits != 32 else () for array in layout.arrays}
        numbers |= {name: 0 for name in counts if isinstance(name, str)}
        raw = V1.message(
            layout.name,
            layout.kind,
            dev_num=0 if layout.bus else 0x1234,
            token=0x5678,
            **numbers,
            **arrays,
        ).encode()
        name = f"VMSG_{layout.name}_{layout.kind.upper()}"
        if layout.kind is MessageKind.EVENT:
            name = f"VMSG_{layout.name}_EVENT"
        assert values[name] == (raw[0], raw[1], layout.min_size)
        for field in layout.fields:
            if field.word or field.reserved:
                continue
            offset, size = values[f"{name}_{field.name.upper()}"]
            found = int.from_bytes(raw[offset : offset + size], "little")
            assert found == numbers[field.name], f"{layout} {field.name}"
            checked += 1
        for array in layout.arrays:
            assert values[f"{name}_{array.name.upper()}_AT"] == (array.offset,)
    assert checked > 50


def test_message_header_matches_codec(values):
    raw = V1.message(
        "GET_DEVICE_STATUS", MessageKind.REQUEST, dev_num=0x1234, token=0x5678
    ).encode()
    found = {}
    for name in facts.HEADER_FIELDS:
        offset, size = values[f"VMSG_HEADER_{name.upper()}"]
        found[name] = int.from_bytes(raw[offset : offset + size], "little")
    assert found == {"type": 0, "msg_id": 7, "dev_num": 0x1234, "token": 0x5678, "msg_size": 8}


def test_layout_without_spare_page_is_refused():
    assert facts.spare_page(SPSC_PAGES) == 0
    with pytest.raises(facts.FactsError, match="layout is 'small-pages': must leave a page of RAM"):
        facts.spare_page(SMALL_PAGES)
    with pytest.raises(facts.FactsError, match="layout is 'live-pages'"):
        facts.spare_page(LIVE_PAGES)
    three = SharedLayout(name="x", driver_queue=0, device_queue=0x2000)
    assert facts.spare_page(three) == 0x1000


def test_program_compiles_without_warnings(tmp_path):
    (tmp_path / "facts.h").write_text(facts.header(BuildConfiguration()))
    sources = sorted(map(str, SOURCES.glob("*.c")))
    command = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-I", str(tmp_path)]
    outcome = subprocess.run([*command, "-fsyntax-only", *sources], capture_output=True, text=True)
    assert not outcome.returncode, outcome.stderr


def test_compiler_error_is_reported(tmp_path):
    (tmp_path / "facts.h").write_text("#error facts went missing\n")
    with pytest.raises(ProgramError, match=r"gcc failed on the guest's program(.|\n)*went missing"):
        compile_init(tmp_path)


def test_missing_compiler_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="gcc is not on this machine: install it"):
        compile_init(tmp_path)
