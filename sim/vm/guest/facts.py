# SPDX-License-Identifier: BSD-2-Clause
"""What the guest's program must know of endpoint, messages and devices, as a C header.

Everything comes from the objects that gateware, models and testbench read. What belongs to virtio
or PCI itself is not here: the program takes it from Linux's headers, another reading of the same
specifications.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from models.devices import console, network
from models.driver import DISCOVERY_WINDOW
from models.layout import PAGE, SharedLayout, layout_of
from models.messages import V1, MessageLayout
from models.messages.layouts import HEADER, HEADER_SIZE
from models.shell import shell_of

from ...build import BuildConfiguration
from ...lab.demo.data import PING_BYTES, PINGS, PRINTED, RNG_BYTES, RNG_REQUEST
from ...peer import OWN_IP, PEER_IP

DIALECT = V1
CONSOLE_LINE = PRINTED.decode("ascii")
"""What the guest prints."""
HEADER_FIELDS = ("type", "msg_id", "dev_num", "token", "msg_size")

GUARD = ("#ifndef FACTS_H", "#define FACTS_H")

Value = int | str | tuple[int, ...]


class FactsError(ValueError):
    """A configuration that the guest cannot drive; the text says why."""


def header(configuration: BuildConfiguration) -> str:
    """The text of ``facts.h`` for a guest of ``configuration``.

    Raises
    ------
    FactsError
        The layout of the shared area leaves no spare RAM to try accesses on.
    """
    lines = ["/* Made by sim.vm.guest.facts. Do not edit. */", *GUARD, ""]
    facts = {**endpoint_facts(configuration), **work_facts()}
    lines += [f"#define {name} {_literal(value)}" for name, value in facts.items()]
    lines += ["", "/* A field is its offset and its bytes. */"]
    lines += [f"#define {name} {text}" for name, text in message_facts()]
    return "\n".join([*lines, "", "#endif", ""])


def endpoint_facts(configuration: BuildConfiguration) -> dict[str, Value]:
    """PCI function, registers and queues."""
    shell = shell_of(configuration.shell)
    layout = layout_of(configuration.layout)
    num_fifos = configuration.num_fifos
    return {
        "AMP_VENDOR_ID": shell.vendor_id,
        "AMP_DEVICE_ID": shell.device_id,
        "AMP_MAX_VECTORS": shell.num_vectors(num_fifos),
        "AMP_REGISTER_BAR": shell.register_bar,
        "AMP_REGISTER_BAR_SIZE": shell.register_bar_size,
        "AMP_FIFO_BAR": shell.fifo_bar,
        "AMP_FIFO_BAR_SIZE": layout.size(num_fifos),
        "AMP_FIFO_STRIDE": layout.fifo_stride,
        "AMP_NUM_FIFOS": configuration.num_fifos,
        "AMP_VECTORS": tuple(
            shell.vector_of(fifo, configuration.num_fifos)
            for fifo in range(configuration.num_fifos)
        ),
        "AMP_VERSION_OFFSET": shell.version_offset,
        "AMP_VERSION": shell.version,
        "AMP_FEATURES_OFFSET": shell.features_offset,
        "AMP_FEATURES": shell.features,
        "AMP_NOTIFY_OFFSET": shell.notify(0),
        "AMP_NOTIFY_STRIDE": shell.notify_stride,
        "AMP_DRIVER_QUEUE": layout.driver_queue_base(0),
        "AMP_DEVICE_QUEUE": layout.device_queue_base(0),
        "AMP_SPARE_OFFSET": spare_page(layout),
        "AMP_MAX_DEVICES": DISCOVERY_WINDOW,
        "SPSC_HEAD_OFFSET": layout.queue.head_offset,
        "SPSC_TAIL_OFFSET": layout.queue.tail_offset,
        "SPSC_SLOTS_OFFSET": layout.queue.slots_offset,
        "SPSC_CAPACITY": layout.queue.capacity,
        "VMSG_SLOT_SIZE": layout.queue.slot_size,
    }


def work_facts() -> dict[str, Value]:
    """What the devices are put to."""
    return {
        "ENTROPY_REQUESTS": RNG_BYTES // RNG_REQUEST,
        "ENTROPY_REQUEST_SIZE": RNG_REQUEST,
        "CONSOLE_RECEIVE": console.RECEIVE,
        "CONSOLE_TRANSMIT": console.TRANSMIT,
        "CONSOLE_LINE": CONSOLE_LINE,
        "NETWORK_RECEIVE": network.RECEIVE,
        "NETWORK_TRANSMIT": network.TRANSMIT,
        "NETWORK_OWN_IP": tuple(OWN_IP),
        "NETWORK_PEER_IP": tuple(PEER_IP),
        "PINGS": PINGS,
        "PING_SIZE": PING_BYTES,
    }


def spare_page(layout: SharedLayout) -> int:
    """Byte offset, in a FIFO's window, of a page that no queue is in.

    Raises
    ------
    FactsError
        There is none.
    """
    for page in range(0, layout.fifo_stride, PAGE):
        if page not in (layout.driver_queue, layout.device_queue):
            return page
    raise FactsError(f"layout is {layout.name!r}: must leave a page that no queue is in")


def message_facts() -> Iterator[tuple[str, str]]:
    """Names and C text of all that is in the messages."""
    yield "VMSG_HEADER_SIZE", str(HEADER_SIZE)
    yield "VMSG_MAX_SIZE", str(DIALECT.max_size)
    codes = HEADER.format.lstrip("<")
    for at, name in enumerate(HEADER_FIELDS):
        offset = struct.calcsize("<" + codes[:at])
        yield f"VMSG_HEADER_{name.upper()}", f"{offset}, {struct.calcsize('<' + codes[at])}"
    for layout in DIALECT.messages:
        yield from _message(layout)


def _message(layout: MessageLayout) -> Iterator[tuple[str, str]]:
    name = layout.name if layout.name.endswith("_EVENT") else f"{layout.name}_{layout.kind.upper()}"
    kind = f"{layout.type_bits}, {layout.msg_id}, {layout.min_size}"
    yield f"VMSG_{name}", f'((struct kind){{{kind}, "{layout}"}})'
    for field in layout.fields:
        # Parts of a word are the packed ring's, which the program does not use.
        if not field.word and not field.reserved:
            yield f"VMSG_{name}_{field.name.upper()}", f"{field.offset}, {field.size}"
    for array in layout.arrays:
        yield f"VMSG_{name}_{array.name.upper()}_AT", str(array.offset)


def _literal(value: Value) -> str:
    if isinstance(value, int):
        return f"{value:#x}"
    if isinstance(value, tuple):
        return "{" + ", ".join(map(str, value)) + "}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
