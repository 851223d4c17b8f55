// SPDX-License-Identifier: BSD-2-Clause
/* Devices behind the bus as devices of Linux's virtio: each operation is one or more requests. */
#include <linux/delay.h>
#include <linux/slab.h>
#include <linux/unaligned.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "transport.h"

#define RESET_POLLS 1000

static int device_request(struct amp_device *device, struct message *message)
{
	return request(device->bus, device, message);
}

static void start_request(struct amp_device *device, struct message *message, u8 id,
			  unsigned int size)
{
	message_init(message, 0, id, device->number, size);
}

static u32 read_config(struct amp_device *device, unsigned int offset, void *to, unsigned int size)
{
	struct message message;

	start_request(device, &message, GET_CONFIG, 16);
	put_unaligned_le32(offset, message.bytes + 8);
	put_unaligned_le32(size, message.bytes + 12);
	if (device_request(device, &message) || message_u32(&message, 16) != size) {
		memset(to, 0, size);
		return 0;
	}
	memcpy(to, message.bytes + 20, size);
	return message_u32(&message, 8);
}

static void amp_get(struct virtio_device *virtio, unsigned int offset, void *to, unsigned int size)
{
	struct amp_device *device = to_amp_device(virtio);
	unsigned int limit = device->bus->revision->max_size - 20, part;

	for (; size; size -= part, offset += part, to += part) {
		part = min(size, limit);
		read_config(device, offset, to, part);
	}
}

static void amp_set(struct virtio_device *virtio, unsigned int offset, const void *from,
		    unsigned int size)
{
	struct amp_device *device = to_amp_device(virtio);
	unsigned int limit = device->bus->revision->max_size - 20, part;
	struct message message;

	for (; size; size -= part, offset += part, from += part) {
		part = min(size, limit);
		start_request(device, &message, SET_CONFIG, 20 + part);
		put_unaligned_le32(offset, message.bytes + 12);
		put_unaligned_le32(part, message.bytes + 16);
		memcpy(message.bytes + 20, from, part);
		device_request(device, &message);
	}
}

static u32 amp_generation(struct virtio_device *virtio)
{
	return read_config(to_amp_device(virtio), 0, NULL, 0);
}

static u8 amp_get_status(struct virtio_device *virtio)
{
	struct amp_device *device = to_amp_device(virtio);
	struct message message;

	start_request(device, &message, GET_STATUS, 8);
	return device_request(device, &message) ? 0 : message_u32(&message, 8);
}

static void amp_set_status(struct virtio_device *virtio, u8 status)
{
	struct amp_device *device = to_amp_device(virtio);
	struct message message;

	start_request(device, &message, SET_STATUS, 12);
	put_unaligned_le32(status, message.bytes + 8);
	device_request(device, &message);
}

static void amp_reset(struct virtio_device *virtio)
{
	int polls = RESET_POLLS;

	amp_set_status(virtio, 0);
	while (amp_get_status(virtio) && polls--)
		usleep_range(500, 1000);
	if (polls < 0)
		dev_err(&virtio->dev, "the device does not finish its reset\n");
}

static u64 amp_get_features(struct virtio_device *virtio)
{
	struct amp_device *device = to_amp_device(virtio);
	struct message message;

	start_request(device, &message, GET_FEATURES, 16);
	put_unaligned_le32(2, message.bytes + 12);
	return device_request(device, &message) ? 0 : get_unaligned_le64(message.bytes + 16);
}

static int amp_finalize_features(struct virtio_device *virtio)
{
	struct amp_device *device = to_amp_device(virtio);
	struct message message;

	vring_transport_features(virtio);
	start_request(device, &message, SET_FEATURES, 24);
	put_unaligned_le32(2, message.bytes + 12);
	put_unaligned_le64(virtio->features, message.bytes + 16);
	return device_request(device, &message);
}

static const char *amp_bus_name(struct virtio_device *virtio)
{
	return dev_name(to_amp_device(virtio)->bus->parent);
}

static int send_avail(struct amp_device *device, unsigned int queue)
{
	struct message message;

	start_request(device, &message, EVENT_AVAIL, 16);
	put_unaligned_le32(queue, message.bytes + 8);
	return device->bus->send(device->bus, &message);
}

static void resend(struct work_struct *work)
{
	struct amp_device *device = container_of(work, struct amp_device, resend);
	unsigned int queue;

	for (queue = 0; queue < MAX_QUEUES; queue++) {
		if (!test_and_clear_bit(queue, &device->unsent))
			continue;
		while (send_avail(device, queue) == -EAGAIN && !READ_ONCE(device->bus->dead) &&
		       !READ_ONCE(device->gone))
			usleep_range(500, 1000);
	}
}

static bool amp_notify(struct virtqueue *vq)
{
	struct amp_device *device = to_amp_device(vq->vdev);

	/* The caller may hold a spinlock: a full FIFO is left to the worker. */
	if (send_avail(device, vq->index) == -EAGAIN) {
		set_bit(vq->index, &device->unsent);
		schedule_work(&device->resend);
	}
	return true;
}

static void publish(struct amp_device *device, unsigned int index, struct virtqueue *queue)
{
	spin_lock_irq(&device->bus->device_lock);
	device->queues[index] = queue;
	spin_unlock_irq(&device->bus->device_lock);
}

static void amp_del_vqs(struct virtio_device *virtio)
{
	struct amp_device *device = to_amp_device(virtio);
	struct virtqueue *vq, *next;

	cancel_work_sync(&device->resend);
	list_for_each_entry_safe(vq, next, &virtio->vqs, list) {
		publish(device, vq->index, NULL);
		vring_del_virtqueue(vq);
	}
}

static struct virtqueue *set_up_queue(struct amp_device *device, unsigned int index,
				      const struct virtqueue_info *info)
{
	struct message message;
	struct virtqueue *vq;
	unsigned int size;
	int error;

	if (index >= min(device->max_queues, MAX_QUEUES))
		return ERR_PTR(-ENOENT);
	start_request(device, &message, GET_VQUEUE, 12);
	put_unaligned_le32(index, message.bytes + 8);
	error = device_request(device, &message);
	if (error)
		return ERR_PTR(error);
	size = message_u32(&message, 12);
	if (!size)
		return ERR_PTR(-ENOENT);
	vq = vring_create_virtqueue(index, size, PAGE_SIZE, &device->virtio, true, true, info->ctx,
				    amp_notify, info->callback, info->name);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	vq->num_max = size;
	start_request(device, &message, SET_VQUEUE, 48);
	put_unaligned_le32(index, message.bytes + 8);
	put_unaligned_le32(device->bus->revision->queue_flags, message.bytes + 12);
	put_unaligned_le32(virtqueue_get_vring_size(vq), message.bytes + 16);
	put_unaligned_le64(virtqueue_get_desc_addr(vq), message.bytes + 24);
	put_unaligned_le64(virtqueue_get_avail_addr(vq), message.bytes + 32);
	put_unaligned_le64(virtqueue_get_used_addr(vq), message.bytes + 40);
	error = device_request(device, &message);
	if (error) {
		vring_del_virtqueue(vq);
		return ERR_PTR(error);
	}
	publish(device, index, vq);
	return vq;
}

static int amp_find_vqs(struct virtio_device *virtio, unsigned int count, struct virtqueue *vqs[],
			struct virtqueue_info infos[], struct irq_affinity *affinity)
{
	unsigned int i, index = 0;

	for (i = 0; i < count; i++) {
		vqs[i] = NULL;
		if (!infos[i].name)
			continue;
		vqs[i] = set_up_queue(to_amp_device(virtio), index++, &infos[i]);
		if (IS_ERR(vqs[i])) {
			int error = PTR_ERR(vqs[i]);

			amp_del_vqs(virtio);
			return error;
		}
	}
	return 0;
}

static const struct virtio_config_ops operations = {
	.get = amp_get,
	.set = amp_set,
	.generation = amp_generation,
	.get_status = amp_get_status,
	.set_status = amp_set_status,
	.reset = amp_reset,
	.find_vqs = amp_find_vqs,
	.del_vqs = amp_del_vqs,
	.get_features = amp_get_features,
	.finalize_features = amp_finalize_features,
	.bus_name = amp_bus_name,
};

static void release(struct device *parent)
{
	kfree(to_amp_device(dev_to_virtio(parent)));
}

static void set_device(struct amp_bus *bus, unsigned int number, struct amp_device *device)
{
	spin_lock_irq(&bus->device_lock);
	bus->devices[number] = device;
	spin_unlock_irq(&bus->device_lock);
}

/* Ask for the device's identity and register it; other numbers are no device. */
int amp_device_add(struct amp_bus *bus, unsigned int number)
{
	struct amp_device *device;
	struct message message;
	int error;

	if (bus->devices[number])
		return -EEXIST;
	device = kzalloc(sizeof(*device), GFP_KERNEL);
	if (!device)
		return -ENOMEM;
	device->bus = bus;
	device->number = number;
	INIT_WORK(&device->resend, resend);
	start_request(device, &message, DEVICE_INFO, 8);
	error = device_request(device, &message);
	if (error || !message_u32(&message, 8)) {
		kfree(device);
		return error ?: -ENODEV;
	}
	device->virtio.id.device = message_u32(&message, 8);
	device->virtio.id.vendor = message_u32(&message, 12);
	device->max_queues = message_u32(&message, bus->revision->max_queues);
	device->virtio.config = &operations;
	device->virtio.dev.parent = bus->parent;
	device->virtio.dev.release = release;
	set_device(bus, number, device);
	error = register_virtio_device(&device->virtio);
	if (error) {
		set_device(bus, number, NULL);
		put_device(&device->virtio.dev);
	}
	return error;
}

void amp_device_remove(struct amp_bus *bus, unsigned int number)
{
	struct amp_device *device = bus->devices[number];

	if (!device)
		return;
	if (bus->dead || device->gone)
		virtio_break_device(&device->virtio);
	/* The last reference is dropped below: the events still find the device until then. */
	get_device(&device->virtio.dev);
	unregister_virtio_device(&device->virtio);
	set_device(bus, number, NULL);
	put_device(&device->virtio.dev);
}
