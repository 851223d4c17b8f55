// SPDX-License-Identifier: BSD-2-Clause
/* Random bytes, in several requests; the host compares them with the source's. */
#include <linux/virtio_ids.h>

#include "guest.h"

void entropy_read(void)
{
	struct device *device = device_bring_up(VIRTIO_ID_RNG, 0);
	struct virtqueue *queue = &device->queues[0];
	struct page page = page_allocate();
	unsigned head;

	for (int request = 0; request < ENTROPY_REQUESTS; request++) {
		struct piece buffer = {page.bus, ENTROPY_REQUEST_SIZE, true};
		uint32_t written;

		virtqueue_add(queue, &buffer, 1);
		virtqueue_kick(queue);
		written = virtqueue_await(queue, &head, "random bytes");
		if (written != ENTROPY_REQUEST_SIZE)
			fail("received %u random bytes: must be %u", written, ENTROPY_REQUEST_SIZE);
		report_bytes("random", page.bytes, written);
	}
}
