# SPDX-License-Identifier: BSD-2-Clause
"""The Verilog: the design's port names, clean under lint, parameters checked."""

import re
import subprocess
from pathlib import Path

import pytest

import hdl
from hdl.__main__ import main
from hdl.verilog import generate
from sim import toolchain

TLP = {"data": 0, "strb": 0, "hdr": 128, "valid": 1, "sop": 1, "eop": 1, "ready": 1}


def bundle(name, width, flow, *, without=(), **more):
    """Ports of a TLP bundle: name -> (direction, width)."""
    widths = {**TLP, "data": width, "strb": width // 32, **more}
    other = {"input": "output", "output": "input"}[flow]
    return {
        f"{name}_{signal}": (other if signal == "ready" else flow, bits)
        for signal, bits in widths.items()
        if signal not in without
    }


def axis(name, width, flow):
    widths = {"tdata": width, "tkeep": width // 8, "tvalid": 1, "tlast": 1, "tdest": 3, "tready": 1}
    other = {"input": "output", "output": "input"}[flow]
    return {
        f"{name}_{signal}": (other if signal == "tready" else flow, bits)
        for signal, bits in widths.items()
    }


def axi(name, width, flow):
    other = {"input": "output", "output": "input"}[flow]
    address = {"id": 8, "addr": 64, "len": 8, "size": 3, "burst": 2}
    channels = {
        "aw": (flow, address),
        "w": (flow, {"data": width, "strb": width // 8, "last": 1}),
        "b": (other, {"id": 8, "resp": 2}),
        "ar": (flow, address),
        "r": (other, {"id": 8, "data": width, "resp": 2, "last": 1}),
    }
    back = {flow: other, other: flow}
    ports = {}
    for channel, (way, fields) in channels.items():
        for field, bits in {**fields, "valid": 1}.items():
            ports[f"{name}_{channel}{field}"] = (way, bits)
        ports[f"{name}_{channel}ready"] = (back[way], 1)
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
        **bundle("tx_msix_wr_req_tlp", 32, "output"),
        **bundle("tx_rd_req_tlp", width, "output", without=("data", "strb")),
        **bundle("tx_wr_req_tlp", width, "output"),
        **bundle("rx_cpl_tlp", width, "input", error=4),
        "completer_id": ("input", 16),
        "requester_id": ("input", 16),
        "max_payload_size": ("input", 3),
        "max_read_request_size": ("input", 3),
        **dict.fromkeys(inputs, ("input", 1)),
        "function_reset": ("input", 1),
        "status_error_cor": ("output", 1),
        "status_error_uncor": ("output", 1),
    }


def endpoint_ports(width, fifos):
    return {
        **device_side(width, fifos),
        **bundle("rx_tlp", width, "input"),
        **bundle("tx_tlp", width, "output"),
    }


def ports_of(text, module):
    body = text[text.index(f"module {module}(") :]
    body = body[: body.index("endmodule")]
    found = {}
    for flow, high, name in re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", body, re.M):
        found[name] = (flow, int(high or 0) + 1)
    return found


@pytest.mark.parametrize(
    "top, expected, width, fifos",
    [("core", core_ports, 256, 3), ("endpoint", endpoint_ports, 64, 8)],
)
def test_ports(top, expected, width, fifos):
    ports = ports_of(generate(top, num_fifos=fifos, data_width=width), f"amp_pci_{top}")
    wanted = expected(width, fifos)
    assert {name: ports.get(name) for name in wanted} == wanted
    # What the design does not name says what happened, and can be left unconnected.
    assert all(
        flow == "output" and name.startswith(("count_", "status_"))
        for name, (flow, _) in ports.items()
        if name not in wanted
    )


@pytest.mark.parametrize(
    "top, fifos, width",
    [("core", 1, 64), ("core", 3, 256), ("endpoint", 8, 512)],
)
def test_lint(top, fifos, width, tmp_path):
    if "verilator" not in toolchain.available():
        pytest.skip("no Verilator on this machine to lint with")
    file = tmp_path / f"amp_pci_{top}.v"
    assert (
        main(["--top", top, "--fifos", str(fifos), "--data-width", str(width), "-o", str(file)])
        == 0
    )
    waivers = Path(hdl.__file__).parent / "lint.vlt"
    command = ["verilator", "--lint-only", "-Wall", str(waivers), str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_element_has_the_name_of_a_bit():
    """Yosys would join both: an array of eight with elements as wires beside it."""
    text = generate("core", num_fifos=8, data_width=64, dma=False)
    assert re.search(r"\\snapshot__7 ", text)
    assert not re.search(r"\\\S*\[[1-9]", text)


def test_same_text_every_time():
    assert generate("core", data_width=64) == generate("core", data_width=64)


def test_unchanged_file_keeps_its_time_stamp(tmp_path):
    file = tmp_path / "top.v"
    assert main(["--top", "core", "--data-width", "64", "-o", str(file)]) == 0
    before = file.stat().st_mtime_ns
    assert main(["--top", "core", "--data-width", "64", "-o", str(file)]) == 0
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize("fifos", ["0", "9"])
def test_bad_number_of_fifos(fifos, capsys):
    assert main(["--fifos", fifos]) == 1
    assert "must be an integer from 1 to 8" in capsys.readouterr().err


def test_bad_width_and_top():
    with pytest.raises(ValueError, match="data_width is 96: must be 64, 128, 256 or 512"):
        generate("core", data_width=96)
    with pytest.raises(ValueError, match="top is 'shell': must be core or endpoint"):
        generate("shell")
