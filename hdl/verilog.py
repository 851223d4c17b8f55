# SPDX-License-Identifier: BSD-2-Clause
"""Verilog of a top, with the port names that the rest of the world expects.

A stream member ``tx_tlp`` of payload ``data, hdr`` becomes ports ``tx_tlp_data``, ``tx_tlp_hdr``,
``tx_tlp_valid`` and ``tx_tlp_ready``; an AXI4-Stream, recognised by its payload's ``tdata``, has
``tvalid`` and ``tready`` instead.
"""

import re

from amaranth.back import verilog
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .core import AmpPciCore
from .endpoint import AmpPciEndpoint

__all__ = ["TOPS", "FlatTop", "generate"]

TOPS = {"core": AmpPciCore, "endpoint": AmpPciEndpoint}
"""Tops by the name that the command line has for them."""

MODULE_NAMES = {"core": "amp_pci_core", "endpoint": "amp_pci_endpoint"}


class FlatTop(wiring.Component):
    """``inner`` with a port for each field of each stream.

    Parameters
    ----------
    inner : wiring.Component
        Its members are plain signals and streams of structures.
    """

    def __init__(self, inner: wiring.Component):
        self._inner = inner
        members: dict[str, wiring.Member] = {}
        self._streams: list[tuple[str, wiring.Member, str]] = []
        for name, member in inner.signature.members.items():
            if member.is_port:
                members[name] = member
                continue
            if not isinstance(member.signature, stream.Signature):
                raise TypeError(f"{name} is neither a port nor a stream: no flat names for it")
            forward, backward = (Out, In) if member.flow == Out else (In, Out)
            fields = dict(member.signature.members["payload"].shape)
            prefix = f"{name}_t" if "tdata" in fields else f"{name}_"
            self._streams.append((name, member, prefix))
            for field, position in fields.items():
                members[f"{name}_{field}"] = forward(position.shape)
            members[f"{prefix}valid"] = forward(1)
            members[f"{prefix}ready"] = backward(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = self._inner

        def join(flow, inside, outside):
            m.d.comb += outside.eq(inside) if flow == Out else inside.eq(outside)

        for name, member in inner.signature.members.items():
            if member.is_port:
                join(member.flow, getattr(inner, name), getattr(self, name))
        for name, member, prefix in self._streams:
            inside = getattr(inner, name)
            for field in dict(member.signature.members["payload"].shape):
                join(member.flow, inside.payload[field], getattr(self, f"{name}_{field}"))
            join(member.flow, inside.valid, getattr(self, f"{prefix}valid"))
            join(member.flow.flip(), inside.ready, getattr(self, f"{prefix}ready"))
        return m


def _settle_at_time_zero(text: str) -> str:
    """Make constants take their value at time zero in every simulator.

    Yosys triggers an ``always @*`` that depends on no input by a register with an initial value,
    which makes no event in Icarus, and has others with no trigger at all: what they drive would
    stay X until an input moves, or for ever.
    """
    text = re.sub(
        r"^(\s*)reg (\\\$auto\S+) += 0;$",
        r"\1reg \2 ;\n\1initial \2 <= 0;",
        text,
        flags=re.MULTILINE,
    )
    return re.sub(
        r"^(\s*)always @\*\n(\s*\S[^\n]* = \d+'[bh][0-9a-f]+;)$",
        r"\1initial\n\2",
        text,
        flags=re.MULTILINE,
    )


def generate(top: str, *, num_fifos: int = 1, data_width: int = 128) -> str:
    """Verilog text of ``core`` or ``endpoint``; the module is ``amp_pci_core`` or
    ``amp_pci_endpoint``.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """
    if top not in TOPS:
        raise ValueError(f"top is {top!r}: must be {' or '.join(TOPS)}")
    component = TOPS[top](num_fifos=num_fifos, data_width=data_width)
    text = verilog.convert(
        FlatTop(component), name=MODULE_NAMES[top], emit_src=False, strip_internal_attrs=True
    )
    licence = "// SPDX-License-Identifier: BSD-2-Clause\n"
    origin = (
        f"// virtio-msg AMP PCI endpoint: python -m hdl --top {top} --fifos {num_fifos} "
        f"--data-width {data_width}\n"
    )
    return licence + origin + _settle_at_time_zero(text)
