# SPDX-License-Identifier: BSD-2-Clause
"""Messages that abort the C implementation; docs/defects.md has the list."""

import pytest
from raw_guest import EMPTY_SLOT_REQUESTS, GUEST_ABORTS, open_guest, padded

from models.transport import Drop

# The other requests to an empty slot do not abort the C implementation.
MESSAGES = GUEST_ABORTS | {
    f"D-10, {name}": (raw, None)
    for name, raw in EMPTY_SLOT_REQUESTS.items()
    if f"D-09, {name}" not in GUEST_ABORTS
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_aborting_message_is_answered_or_dropped(name):
    """A message that aborts the C implementation is answered or dropped; the next is served.

    A dropped one causes no response, no event and no interrupt.
    """
    async with open_guest() as guest:
        await guest.bring_up()
        raw, answer = MESSAGES[name]
        assert await guest.exchange(raw) == ([padded(answer)] if answer else [])
        assert guest.transport.drops.total() == (answer is None)
        if name.startswith(("D-09", "D-10")):
            assert guest.transport.drops == {Drop.NO_DEVICE: 1}
        assert (await guest.request("GET_DEVICE_STATUS")).status == 0xF
