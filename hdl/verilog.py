# SPDX-License-Identifier: BSD-2-Clause
"""Verilog of a top, with flat port names.

A stream member ``tx_tlp`` of payload ``data, hdr`` becomes ports ``tx_tlp_data``, ``tx_tlp_hdr``,
``tx_tlp_valid`` and ``tx_tlp_ready``; an AXI4-Stream, recognised by its payload's ``tdata``, has
``tvalid`` and ``tready`` instead. An AXI4 interface ``s_axi_dma`` becomes ``s_axi_dma_awaddr``,
``s_axi_dma_awvalid`` and so on, a prefix for each channel.
"""

import re

from amaranth.back import verilog
from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out

from models.layout import SPSC_PAGES, SharedLayout
from models.shell import AMP_PCI, PciShell

from .block_options import NO_OPTIONS, BlockOptions
from .core import AmpPciCore
from .dma.limits import COMPLETION_TIMEOUT
from .endpoint import AmpPciEndpoint
from .shims.intel_ptile import IntelPTile
from .shims.intel_s10 import IntelStratix10
from .shims.series7 import XilinxSeries7
from .shims.ultrascale import XilinxUltraScale, XilinxUltraScalePlus

__all__ = ["MODULE_NAMES", "SHIMS", "TOPS", "FlatTop", "default_data_width", "generate"]

SHIMS = {
    "intel-ptile": IntelPTile,
    "intel-s10": IntelStratix10,
    "xilinx-7": XilinxSeries7,
    "xilinx-us": XilinxUltraScale,
    "xilinx-usp": XilinxUltraScalePlus,
}
"""Tops with the ports of a hard block, by their names on the command line."""

TOPS = {"core": AmpPciCore, "endpoint": AmpPciEndpoint}
"""Tops with TLP streams, by their names on the command line."""

MODULE_NAMES = {
    "core": "amp_pci_core",
    "endpoint": "amp_pci_endpoint",
    "intel-ptile": "amp_pci_intel_ptile",
    "intel-s10": "amp_pci_intel_s10",
    "xilinx-7": "amp_pci_xilinx_7",
    "xilinx-us": "amp_pci_xilinx_us",
    "xilinx-usp": "amp_pci_xilinx_usp",
}
"""Default module name of each top."""

WIDER_DEFAULTS = {"intel-s10": 256}
"""Default stream width, in bits, of tops that do not support 128."""

IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
"""Verilog identifier that needs no escape."""


class FlatTop(wiring.Component):
    """Wraps a component with one port for each field of each stream.

    Parameters
    ----------
    inner : wiring.Component
        Component whose members are plain signals, streams of structures, and interfaces made of
        such streams.
    """

    def __init__(self, inner: wiring.Component):
        self._inner = inner
        members: dict[str, wiring.Member] = {}
        # Inner stream, flow of its payload, its fields, and the prefixes of its ports.
        self._streams = []
        for name, member in inner.signature.members.items():
            if member.is_port:
                members[name] = member
                continue
            for source, flow, signature, prefix in _streams(name, member, getattr(inner, name)):
                fields = dict(data.Layout.cast(signature.members["payload"].shape))
                for field, position in fields.items():
                    members[f"{prefix}{field}"] = flow(position.shape)
                handshake = f"{prefix}t" if "tdata" in fields else prefix
                members[f"{handshake}valid"] = flow(1)
                members[f"{handshake}ready"] = flow.flip()(1)
                self._streams.append((source, flow, fields, prefix, handshake))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = self._inner

        def join(flow, inside, outside):
            m.d.comb += outside.eq(inside) if flow == Out else inside.eq(outside)

        for name, member in inner.signature.members.items():
            if member.is_port:
                join(member.flow, getattr(inner, name), getattr(self, name))
        for source, flow, fields, prefix, handshake in self._streams:
            for field in fields:
                join(flow, source.payload[field], getattr(self, f"{prefix}{field}"))
            join(flow, source.valid, getattr(self, f"{handshake}valid"))
            join(flow.flip(), source.ready, getattr(self, f"{handshake}ready"))
        return m


def _streams(name, member, interface):
    """Yield the streams of member ``name``, each with flow, signature and port prefix."""
    if isinstance(member.signature, stream.Signature):
        yield interface, member.flow, member.signature, f"{name}_"
        return
    for channel, inner in member.signature.members.items():
        if not (inner.is_signature and isinstance(inner.signature, stream.Signature)):
            raise TypeError(f"{name}.{channel} is not a stream: it has no flat port names")
        # Amaranth has already flipped the signature of an In member.
        yield getattr(interface, channel), inner.flow, inner.signature, f"{name}_{channel}"


def _settle_at_time_zero(text: str) -> str:
    """Make combinational blocks settle at time zero in every simulator.

    Yosys triggers an ``always @*`` without inputs by a register with an initial value, which is no
    event in Icarus, and gives other blocks no trigger: their outputs would stay X until an input
    changes, or permanently. An input change before such a block starts to wait is missed, too.
    """
    text = re.sub(
        r"^(\s*)reg (\\\$auto\S+) += 0;$",
        r"\1reg \2 ;\n\1initial \2 <= 0;",
        text,
        flags=re.MULTILINE,
    )
    text = re.sub(
        r"^(\s*)always @\*\n(\s*\S[^\n]* = \d+'[bdh][0-9a-f]+;)$",
        r"\1initial\n\2",
        text,
        flags=re.MULTILINE,
    )
    return re.sub(r"^module .*?^endmodule", _trigger_at_time_zero, text, flags=re.M | re.S)


def _trigger_at_time_zero(module: re.Match[str]) -> str:
    """Add to the module a trigger for each ``always @*`` of one statement."""
    text, found = re.subn(
        r"^( *)always @\*\n( *)(\S[^\n]* = [^\n]+;)$",
        r"\1always @* begin\n\2if (\\$settle ) begin end\n\2\3\n\1end",
        module[0],
        flags=re.MULTILINE,
    )
    if not found:
        return text
    trigger = "  reg \\$settle ;\n  initial \\$settle <= 0;\n"
    return re.sub(r"\);\n", lambda end: end[0] + trigger, text, count=1)


def _name_elements_apart(text: str) -> str:
    """Rename array elements so that they do not collide with bits of the array.

    Amaranth emits each element of an array as a wire, ``\\indices[7]``, in addition to the array.
    ABC, in Yosys, confuses the wire with bit 7 of ``indices`` and shorts the two. Element 0 starts
    with bit 0, so its name is safe.
    """
    return re.sub(
        r"\\\S*\[[1-9]\S*", lambda name: re.sub(r"\[(\d+)\]", r"__\1", name.group()), text
    )


def default_data_width(top: str) -> int:
    """Default stream width of ``top`` in bits."""
    return WIDER_DEFAULTS.get(top, 128)


def generate(
    top: str,
    *,
    num_fifos: int = 1,
    data_width: int | None = None,
    completion_timeout: int = COMPLETION_TIMEOUT,
    shell: PciShell = AMP_PCI,
    layout: SharedLayout = SPSC_PAGES,
    dma: bool = True,
    block: BlockOptions = NO_OPTIONS,
    name: str | None = None,
) -> str:
    """Generate the Verilog of a top.

    Parameters
    ----------
    top
        Key of :data:`TOPS` or :data:`SHIMS`.
    num_fifos, data_width, completion_timeout, shell, layout, dma, block
        As for :class:`~hdl.core.AmpPciCore`; ``block`` applies to the core only, and the default
        of ``data_width`` is :func:`default_data_width`.
    name
        Name of the module, and prefix of its submodules' names; :data:`MODULE_NAMES` has the
        defaults. Two configurations in one design need two names.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """
    tops = TOPS | SHIMS
    if top not in tops:
        *others, last = tops
        raise ValueError(f"top is {top!r}: must be {', '.join(others)} or {last}")
    name = MODULE_NAMES[top] if name is None else name
    if not IDENTIFIER.fullmatch(name):
        raise ValueError(f"name is {name!r}: must be a letter or _, then letters, digits and _")
    if data_width is None:
        data_width = default_data_width(top)
    chosen = block.chosen()
    if chosen and top != "core":
        raise ValueError(f"{chosen[0]} with top {top}: must be core, the top behind a hard block")
    component = tops[top](
        num_fifos=num_fifos,
        data_width=data_width,
        completion_timeout=completion_timeout,
        shell=shell,
        layout=layout,
        dma=dma,
        **({"block": block} if chosen else {}),
    )
    text = verilog.convert(FlatTop(component), name=name, emit_src=False, strip_internal_attrs=True)
    licence = "// SPDX-License-Identifier: BSD-2-Clause\n"
    origin = (
        f"// virtio-msg AMP PCI endpoint: python -m hdl --top {top} --fifos {num_fifos} "
        f"--data-width {data_width} --completion-timeout {completion_timeout} "
        f"--shell {shell.name} --layout {layout.name}{'' if dma else ' --no-dma'}"
        f"{''.join(f' {option}' for option in chosen)}"
        f"{'' if name == MODULE_NAMES[top] else f' --name {name}'}\n"
    )
    return licence + origin + _settle_at_time_zero(_name_elements_apart(text))
