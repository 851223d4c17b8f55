// SPDX-License-Identifier: BSD-2-Clause
/* Split virtqueues (virtio 1.4, 2.7), without event indices or indirect descriptors. */
#include <linux/virtio_ring.h>

#include "guest.h"

#define AVAILABLE_OFFSET 1024
#define USED_OFFSET 2048
#define barrier() __asm__ __volatile__("mfence" ::: "memory")

void virtqueue_make(struct virtqueue *queue, unsigned dev_num, unsigned index, unsigned max_size)
{
	*queue = (struct virtqueue){.dev_num = dev_num, .index = index, .page = page_allocate()};
	queue->size = max_size < QUEUE_SIZE ? max_size : QUEUE_SIZE;
	queue->free = queue->size;
	queue->descriptors = (struct vring_desc *)queue->page.bytes;
	queue->available = (struct vring_avail *)(queue->page.bytes + AVAILABLE_OFFSET);
	queue->used = (struct vring_used *)(queue->page.bytes + USED_OFFSET);
	for (unsigned i = 0; i < queue->size; i++)
		queue->descriptors[i].next = i + 1;
}

/* Makes a chain available; returns its first descriptor's index. */
unsigned virtqueue_add(struct virtqueue *queue, const struct piece *pieces, unsigned count)
{
	volatile struct vring_avail *available = queue->available;
	unsigned head = queue->next_free, at = head;

	if (queue->free < count)
		fail("device %u, queue %u: a chain needs %u descriptors, %u are free",
		     queue->dev_num, queue->index, count, queue->free);
	for (unsigned i = 0; i < count; i++) {
		struct vring_desc *descriptor = &queue->descriptors[at];

		descriptor->addr = pieces[i].bus;
		descriptor->len = pieces[i].size;
		descriptor->flags = (pieces[i].writable ? VRING_DESC_F_WRITE : 0) |
				    (i + 1 < count ? VRING_DESC_F_NEXT : 0);
		at = descriptor->next;
	}
	queue->next_free = at;
	queue->free -= count;
	available->ring[available->idx % queue->size] = head;
	barrier();
	available->idx++;
	return head;
}

void virtqueue_kick(struct virtqueue *queue)
{
	struct message event = message_new(VMSG_EVENT_AVAIL_EVENT, queue->dev_num);

	barrier();
	if (((volatile struct vring_used *)queue->used)->flags & VRING_USED_F_NO_NOTIFY)
		return;
	message_put(&event, VMSG_EVENT_AVAIL_EVENT_INDEX, queue->index);
	messages_send(&event);
}

static void free_chain(struct virtqueue *queue, unsigned head)
{
	unsigned last = head, count = 1;

	while (queue->descriptors[last].flags & VRING_DESC_F_NEXT) {
		last = queue->descriptors[last].next;
		count++;
	}
	queue->descriptors[last].next = queue->next_free;
	queue->next_free = head;
	queue->free += count;
}

/*
 * Waits for the next used chain; returns the number of bytes that the device wrote. One
 * EVENT_USED may announce several chains, so the ring is checked first.
 */
uint32_t virtqueue_await(struct virtqueue *queue, unsigned *head, const char *what)
{
	volatile struct vring_used *used = queue->used;
	struct deadline chain_deadline = deadline(what);
	volatile struct vring_used_elem *element;

	while (used->idx == queue->used_seen) {
		messages_clear_used(queue->dev_num, queue->index);
		if (used->idx == queue->used_seen)
			messages_await_used(queue->dev_num, queue->index, &chain_deadline);
	}
	element = &used->ring[queue->used_seen++ % queue->size];
	if (element->id >= queue->size)
		fail("device %u, queue %u: used id is %u: must be below %u", queue->dev_num,
		     queue->index, element->id, queue->size);
	*head = element->id;
	free_chain(queue, *head);
	return element->len;
}
