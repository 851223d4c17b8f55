// SPDX-License-Identifier: BSD-2-Clause
/* A line to the console; the host answers with another. */
#include <string.h>
#include <linux/virtio_ids.h>

#include "guest.h"

void console_talk(void)
{
	struct device *device = device_bring_up(VIRTIO_ID_CONSOLE, 0);
	struct virtqueue *receive = &device->queues[CONSOLE_RECEIVE];
	struct virtqueue *transmit = &device->queues[CONSOLE_TRANSMIT];
	struct page typed = page_allocate(), printed = page_allocate();
	struct piece buffer = {typed.bus, PAGE, true};
	struct piece line = {printed.bus, sizeof(CONSOLE_LINE) - 1, false};
	uint32_t size = 0;
	unsigned head;

	virtqueue_add(receive, &buffer, 1);
	virtqueue_kick(receive);
	memcpy(printed.bytes, CONSOLE_LINE, sizeof(CONSOLE_LINE) - 1);
	virtqueue_add(transmit, &line, 1);
	virtqueue_kick(transmit);
	virtqueue_await(transmit, &head, "completion of a console line");
	/* A line may arrive in several pieces. */
	while (!size || typed.bytes[size - 1] != '\n') {
		if (size)
			virtqueue_add(receive, &buffer, 1);
		if (size)
			virtqueue_kick(receive);
		size += virtqueue_await(receive, &head, "line typed by the host");
		if (size >= PAGE)
			fail("the typed line exceeds %d bytes", PAGE);
		buffer = (struct piece){typed.bus + size, PAGE - size, true};
	}
	report_text("console", typed.bytes, size);
}
