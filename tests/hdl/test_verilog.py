# SPDX-License-Identifier: BSD-2-Clause
"""The generated Verilog: its port names, lint, and checked parameters."""

import re
import subprocess

import pytest

from hdl.__main__ import main
from hdl.companions import ports_of
from hdl.verilog import MODULE_NAMES, generate
from sim import toolchain

TLP = {"data": 0, "strb": 0, "hdr": 128, "valid": 1, "sop": 1, "eop": 1, "ready": 1}


def bundle(name, width, direction, *, without=(), **more):
    """Ports of a TLP bundle: name -> (direction, width)."""
    widths = {**TLP, "data": width, "strb": width // 32, **more}
    opposite = {"input": "output", "output": "input"}[direction]
    return {
        f"{name}_{signal}": (opposite if signal == "ready" else direction, bits)
        for signal, bits in widths.items()
        if signal not in without
    }


def axis(name, width, direction):
    widths = {"tdata": width, "tkeep": width // 8, "tvalid": 1, "tlast": 1, "tdest": 3, "tready": 1}
    opposite = {"input": "output", "output": "input"}[direction]
    return {
        f"{name}_{signal}": (opposite if signal == "tready" else direction, bits)
        for signal, bits in widths.items()
    }


def axi(name, width, direction):
    opposite = {"input": "output", "output": "input"}[direction]
    address = {"id": 8, "addr": 64, "len": 8, "size": 3, "burst": 2}
    channels = {
        "aw": (direction, address),
        "w": (direction, {"data": width, "strb": width // 8, "last": 1}),
        "b": (opposite, {"id": 8, "resp": 2}),
        "ar": (direction, address),
        "r": (opposite, {"id": 8, "data": width, "resp": 2, "last": 1}),
    }
    back = {direction: opposite, opposite: direction}
    ports = {}
    for channel, (source, fields) in channels.items():
        for field, bits in {**fields, "valid": 1}.items():
            ports[f"{name}_{channel}{field}"] = (source, bits)
        ports[f"{name}_{channel}ready"] = (back[source], 1)
    return ports


def device_side(width, fifos):
    return {
        "clk": ("input", 1),
        "rst": ("input", 1),
        **axis("m_axis_msg", width, "output"),
        **axis("s_axis_msg", width, "input"),
        **axi("s_axi_dma", width, "input"),
        "device_queue_ready": ("output", fifos),
        "doorbell": ("output", fifos),
        "host_reset": ("output", 1),
    }


def core_ports(width, fifos):
    inputs = ("rcb_128b", "ext_tag_enable", "bus_master_enable", "msix_enable", "msix_mask")
    return {
        **device_side(width, fifos),
        **bundle("rx_req_tlp", width, "input", bar_id=3, func_num=8),
        **bundle("tx_cpl_tlp", width, "output"),
        **bundle("tx_rd_req_tlp", width, "output", without=("data", "strb")),
        **bundle("tx_wr_req_tlp", width, "output"),
        **bundle("rx_cpl_tlp", width, "input", error=4),
        "completer_id": ("input", 16),
        "requester_id": ("input", 16),
        "max_payload_size": ("input", 3),
        "max_read_request_size": ("input", 3),
        **dict.fromkeys(inputs, ("input", 1)),
        "function_reset": ("input", 1),
        "function_reset_done": ("output", 1),
        "status_error_cor": ("output", 1),
        "status_error_uncor": ("output", 1),
    }


def endpoint_ports(width, fifos):
    return {
        **device_side(width, fifos),
        **bundle("rx_tlp", width, "input"),
        **bundle("tx_tlp", width, "output"),
    }


def ports_by_name(text, module):
    return {port.name: (port.direction, port.bits) for port in ports_of(text, module)}


@pytest.mark.parametrize(
    "top, ports_of_top, width, fifos",
    [("core", core_ports, 256, 3), ("endpoint", endpoint_ports, 64, 8)],
)
def test_top_has_the_ports_of_the_design(top, ports_of_top, width, fifos):
    ports = ports_by_name(generate(top, num_fifos=fifos, data_width=width), f"amp_pci_{top}")
    expected = ports_of_top(width, fifos)
    assert {name: ports.get(name) for name in expected} == expected
    # Every other port is a counter or status output, and can be left unconnected.
    assert all(
        direction == "output" and name.startswith(("count_", "status_"))
        for name, (direction, _) in ports.items()
        if name not in expected
    )


WIDE = pytest.mark.regress(reason="lint takes half a minute at 512 bits")


def lint(*files):
    if "verilator" not in toolchain.available():
        pytest.skip("Verilator is not installed")
    command = ["verilator", "--lint-only", "-Wall", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "top, fifos, width",
    [
        ("core", 1, 64),
        ("core", 3, 256),
        ("endpoint", 2, 128),
        pytest.param("endpoint", 8, 512, marks=WIDE),
        ("intel-ptile", 1, 128),
        pytest.param("intel-ptile", 1, 512, marks=WIDE),
        ("intel-s10", 2, 256),
        ("xilinx-7", 1, 128),
        ("xilinx-us", 2, 64),
        ("xilinx-usp", 1, 64),
        pytest.param("xilinx-usp", 1, 512, marks=WIDE),
    ],
)
def test_verilog_passes_lint(top, fifos, width, tmp_path):
    """Lint passes with the waivers beside the file only.

    Each combinational block has a trigger at time zero: an input may have its value before the
    block waits for it.
    """
    file = tmp_path / f"{MODULE_NAMES[top]}.v"
    parameters = ["--top", top, "--fifos", str(fifos), "--data-width", str(width)]
    assert main([*parameters, "-o", str(file)]) == 0
    blocks = re.findall(r"always @\*(.*)\n(.*)", file.read_text())
    triggers = {re.sub(r"\\\$\S+ ", "...", first.strip()) for _, first in blocks}
    assert triggers == {"if (...) begin end"} and {begin for begin, _ in blocks} == {" begin"}
    lint(file.with_suffix(".vlt"), file)


def modules_in(text):
    return set(re.findall(r"^module \\?(\S+?) ?\(", text, re.M))


def test_two_configurations_fit_into_one_design(tmp_path):
    """The instances written beside both, each with a name of its own, fit into one module."""
    body, module_names = [], []
    for name, options in {
        "card_a": ["--data-width", "64"],
        "card_b": ["--fifos", "2", "--sequence-numbers", "--ignore-bus-number"],
    }.items():
        file = tmp_path / f"{name}.v"
        assert main(["--top", "core", "--name", name, *options, "-o", str(file)]) == 0
        text = file.read_text()
        module_names.append(modules_in(text))
        assert all(each.startswith(name) for each in module_names[-1])
        ports = ports_of(text, name)
        instance = file.with_suffix(".inst.v").read_text()
        assert instance.count("wire ") == len(ports)
        for port in ports:
            assert f".{port.name}(" in instance
            assert (
                f"| `{port.name}` | {port.direction} | {port.bits} |"
                in file.with_suffix(".ports.md").read_text()
            )
            # Both instances declare a wire of this name.
            instance = re.sub(rf"(?<!\.)\b{port.name}\b", f"{name}_{port.name}", instance)
        body.append(instance)
    assert not module_names[0] & module_names[1]
    design = tmp_path / "both.v"
    waivers = tmp_path / "both.vlt"
    waivers.write_text(
        '`verilator_config\nlint_off -rule UNUSEDSIGNAL -file "*both.v"\n'
        'lint_off -rule UNDRIVEN -file "*both.v"\n'
    )
    design.write_text("\n".join(["module both;", *body, "endmodule", ""]))
    parts = [tmp_path / f"card_{each}.{kind}" for each in "ab" for kind in ("vlt", "v")]
    lint(waivers, *parts, design, "--top-module", "both")


@pytest.mark.parametrize("name", ["", "2nd", "a-b", "a b", "é"])
def test_invalid_module_name_is_refused(name, capsys):
    assert main(["--top", "core", "--name", name]) == 1
    assert "must be a letter or _, then letters, digits and _" in capsys.readouterr().err


@pytest.mark.parametrize(
    "top, option", [("endpoint", "--separate-msix"), ("xilinx-7", "--sequence-numbers")]
)
def test_core_options_are_refused_for_other_tops(top, option, capsys):
    assert main(["--top", top, option]) == 1
    assert f"{option} with top {top}: must be core" in capsys.readouterr().err


@pytest.mark.parametrize(
    "top, width, keep, users",
    [
        # Widths of tuser: PG054 table 2-9 on, PG156 and PG213 "AXI4-Stream Interface" tables.
        ("xilinx-7", 64, 8, {"m_axis_rx": 22, "s_axis_tx": 4}),
        ("xilinx-7", 128, 16, {"m_axis_rx": 22, "s_axis_tx": 4}),
        ("xilinx-us", 256, 8, {"m_axis_cq": 85, "s_axis_cc": 33, "s_axis_rq": 60, "m_axis_rc": 75}),
        ("xilinx-usp", 64, 2, {"m_axis_cq": 88, "s_axis_cc": 33, "s_axis_rq": 62, "m_axis_rc": 75}),
        (
            "xilinx-usp",
            512,
            16,
            {"m_axis_cq": 183, "s_axis_cc": 81, "s_axis_rq": 137, "m_axis_rc": 161},
        ),
    ],
)
def test_streams_match_the_xilinx_block(top, width, keep, users):
    """Names, directions and widths are those of the block."""
    ports = ports_by_name(generate(top, data_width=width), MODULE_NAMES[top])
    for stream, user in users.items():
        # m_ and s_ are the block's roles.
        direction, opposite = (
            ("input", "output") if stream.startswith("m_") else ("output", "input")
        )
        widths = {"tdata": width, "tkeep": keep, "tlast": 1, "tuser": user, "tvalid": 1}
        for field, bits in widths.items():
            assert ports[f"{stream}_{field}"] == (direction, bits)
        assert ports[f"{stream}_tready"] == (opposite, 1)


@pytest.mark.parametrize(
    "top, width, segments, empty, functions, beside",
    [
        # 683059 tables 53 on, 683111 tables 31 on.
        ("intel-ptile", 128, 1, 2, 3, 128),
        ("intel-ptile", 256, 1, 3, 3, 128),
        ("intel-ptile", 512, 2, 6, 3, 256),
        ("intel-s10", 256, 1, 3, 2, 0),
        ("intel-s10", 512, 2, 6, 2, 0),
    ],
)
def test_streams_match_the_intel_block(top, width, segments, empty, functions, beside):
    """Names, directions and widths of Avalon-ST are those of the block."""
    ports = ports_by_name(generate(top, data_width=width), MODULE_NAMES[top])
    both = {"data": width, "sop": segments, "eop": segments, "valid": segments}
    if beside:
        both |= {"hdr": beside, "tlp_prfx": beside // 4}
    for field, bits in both.items():
        assert ports[f"rx_st_{field}"] == ("input", bits)
        assert ports[f"tx_st_{field}"] == ("output", bits)
    assert ports["rx_st_empty"] == ("input", empty)
    assert ports["rx_st_bar_range"] == ("input", 3 * segments)
    assert ports["rx_st_func_num"] == ("input", functions * segments)
    assert ports["rx_st_ready"] == ("output", 1)
    assert ports["tx_st_ready"] == ("input", 1)
    assert ports["tx_st_err"] == ("output", segments)


@pytest.mark.parametrize(
    "top, width, allowed",
    [
        ("intel-ptile", 64, "128, 256 or 512 for P-Tile"),
        ("intel-s10", 128, "256 or 512 for Stratix 10"),
    ],
)
def test_unsupported_intel_width_is_refused(top, width, allowed):
    with pytest.raises(ValueError, match=f"data_width is {width}: must be {allowed}"):
        generate(top, data_width=width)


def test_array_elements_are_not_named_like_bits():
    """Yosys merges a wire ``x[7]`` with bit 7 of ``x``: elements of an array are ``x__7``."""
    text = generate("core", num_fifos=8, data_width=64, dma=False)
    assert re.search(r"\bread_fifo__1\b", text)
    assert not re.search(r"\\\S*\[[1-9]", text)


@pytest.mark.parametrize("width", [64, 128])
def test_msix_table_is_in_lut_ram(width):
    """For a table of a few words, its width alone would decide the number of block RAMs."""
    text = generate("core", data_width=width, dma=False)
    match = re.search(r'\(\* ram_style = "(\w+)" \*\)\n  reg \[(\d+):0\] \\table  ', text)
    assert match is not None and match.groups() == ("distributed", str(width - 1))


def test_generation_is_reproducible():
    assert generate("core", data_width=64) == generate("core", data_width=64)


def test_unchanged_file_keeps_its_time_stamp(tmp_path):
    file = tmp_path / "top.v"
    assert main(["--top", "core", "--data-width", "64", "-o", str(file)]) == 0
    before = file.stat().st_mtime_ns
    assert main(["--top", "core", "--data-width", "64", "-o", str(file)]) == 0
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize("fifos", ["0", "9"])
def test_number_of_fifos_is_checked(fifos, capsys):
    assert main(["--fifos", fifos]) == 1
    assert "must be an integer from 1 to 8" in capsys.readouterr().err


def test_width_and_top_are_checked():
    with pytest.raises(ValueError, match="data_width is 96: must be 64, 128, 256 or 512"):
        generate("core", data_width=96)
    with pytest.raises(
        ValueError,
        match="top is 'shell': must be core, endpoint, intel-ptile, intel-s10, xilinx-7, xilinx-us "
        "or xilinx-usp",
    ):
        generate("shell")
