// SPDX-License-Identifier: BSD-2-Clause
/* Writes a file from the initramfs to the disk, one page per request, and reads it back. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include "guest.h"

#define IMAGE "/disk.bin"
#define SECTOR 512
#define AT_ONCE 4

struct request {
	struct page page, data;
	struct virtio_blk_outhdr *header;
	volatile uint8_t *status;
	unsigned head;
};

static struct request requests[AT_ONCE];

static void allocate_buffers(struct request *request)
{
	request->page = page_allocate();
	request->data = page_allocate();
	request->header = (struct virtio_blk_outhdr *)request->page.bytes;
	request->status = request->page.bytes + sizeof(*request->header);
}

static void submit(struct virtqueue *queue, struct request *request, unsigned type,
		   unsigned sector, unsigned size)
{
	struct piece pieces[3] = {
		{request->page.bus, sizeof(*request->header), false},
		{request->data.bus, size, type == VIRTIO_BLK_T_IN},
		{request->page.bus + sizeof(*request->header), 1, true},
	};

	if (!size)
		pieces[1] = pieces[2];
	*request->header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	*request->status = 0xff;
	request->head = virtqueue_add(queue, pieces, size ? 3 : 2);
}

static void await_requests(struct virtqueue *queue, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned head, at = 0;

		virtqueue_await(queue, &head, "completion of a block request");
		while (at < count && requests[at].head != head)
			at++;
		if (at == count)
			fail("the device used an unknown block request");
		if (*requests[at].status != VIRTIO_BLK_S_OK)
			fail("a block request ended with status %u", *requests[at].status);
	}
}

static void transfer(struct virtqueue *queue, int file, unsigned pages, unsigned type)
{
	for (unsigned first = 0; first < pages; first += AT_ONCE) {
		unsigned count = pages - first < AT_ONCE ? pages - first : AT_ONCE;
		uint8_t expected[PAGE];

		for (unsigned i = 0; i < count; i++) {
			memset(requests[i].data.bytes, 0, PAGE);
			if (type == VIRTIO_BLK_T_OUT &&
			    pread(file, requests[i].data.bytes, PAGE, (first + i) * PAGE) != PAGE)
				fail_errno(IMAGE);
			submit(queue, &requests[i], type, (first + i) * (PAGE / SECTOR), PAGE);
		}
		virtqueue_kick(queue);
		await_requests(queue, count);
		for (unsigned i = 0; type == VIRTIO_BLK_T_IN && i < count; i++) {
			if (pread(file, expected, PAGE, (first + i) * PAGE) != PAGE)
				fail_errno(IMAGE);
			if (memcmp(expected, requests[i].data.bytes, PAGE))
				fail("sectors from %u on differ from the image",
				     (first + i) * (PAGE / SECTOR));
		}
	}
}

void block_copy(void)
{
	struct device *device = device_bring_up(VIRTIO_ID_BLOCK, 1ull << VIRTIO_BLK_F_FLUSH);
	struct virtqueue *queue = &device->queues[0];
	int file = open(IMAGE, O_RDONLY);
	struct stat status;
	uint64_t capacity;

	if (file < 0 || fstat(file, &status))
		fail_errno(IMAGE);
	for (int i = 0; i < AT_ONCE; i++)
		allocate_buffers(&requests[i]);
	device_read_config(device, offsetof(struct virtio_blk_config, capacity), &capacity,
			   sizeof(capacity));
	if (capacity * SECTOR < (uint64_t)status.st_size)
		fail("the disk has %llu sectors: must hold %lld bytes",
		     (unsigned long long)capacity, (long long)status.st_size);
	transfer(queue, file, status.st_size / PAGE, VIRTIO_BLK_T_OUT);
	submit(queue, &requests[0], VIRTIO_BLK_T_FLUSH, 0, 0);
	virtqueue_kick(queue);
	await_requests(queue, 1);
	transfer(queue, file, status.st_size / PAGE, VIRTIO_BLK_T_IN);
	report("block", "\"sectors\": %llu, \"bytes\": %lld", (unsigned long long)capacity,
	       (long long)status.st_size);
	close(file);
}
