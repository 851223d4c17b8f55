// SPDX-License-Identifier: BSD-2-Clause
/* The bus: discovery, received messages, devices that come and go. */
#include <linux/module.h>
#include <linux/unaligned.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "transport.h"

static const struct revision revisions[] = {
	{ "v1", .max_size = 48, .next_offset = 12, .max_queues = 24 },
	{ "v1.1", .max_size = 48, .next_offset = 12, .max_queues = 24 },
	{ "r1", .max_size = 64, .next_offset = 10, .max_queues = 40, .queue_flags = 1 },
};

static char *revision = "v1";
module_param(revision, charp, 0444);
MODULE_PARM_DESC(revision, "wire revision: v1, v1.1 or r1");

static const struct revision *find_revision(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(revisions); i++)
		if (!strcmp(name, revisions[i].name))
			return &revisions[i];
	return NULL;
}

static void handle_events(struct work_struct *work)
{
	struct amp_bus *bus = container_of(work, struct amp_bus, events);
	unsigned int number;
	u32 added, removed;

	spin_lock_irq(&bus->device_lock);
	added = bus->added;
	removed = bus->removed;
	bus->added = bus->removed = 0;
	spin_unlock_irq(&bus->device_lock);
	mutex_lock(&bus->change_lock);
	for (number = 0; number < MAX_DEVICES; number++) {
		if (removed & BIT(number))
			amp_device_remove(bus, number);
		if (added & BIT(number))
			amp_device_add(bus, number);
	}
	mutex_unlock(&bus->change_lock);
}

static void set_running(struct amp_bus *bus, bool running)
{
	spin_lock_irq(&bus->device_lock);
	bus->running = running;
	bus->added = bus->removed = 0;
	spin_unlock_irq(&bus->device_lock);
}

static void receive_device_event(struct amp_bus *bus, const struct message *message)
{
	unsigned int number = message_u16(message, 8), event = message_u16(message, 10);

	if (number >= MAX_DEVICES || !bus->running)
		return;
	if (event == DEVICE_ADDED) {
		bus->added |= BIT(number);
	} else if (event == DEVICE_REMOVED) {
		bus->removed |= BIT(number);
		bus->added &= ~BIT(number);
		/* A removed device does not answer. */
		if (bus->devices[number])
			WRITE_ONCE(bus->devices[number]->gone, true);
	}
	schedule_work(&bus->events);
}

static void receive_response(struct amp_bus *bus, const struct message *message)
{
	struct message *expected = bus->response;

	if (expected && message->bytes[0] == (expected->bytes[0] | TYPE_RESPONSE) &&
	    !memcmp(message->bytes + 1, expected->bytes + 1, 5)) {
		*expected = *message;
		bus->response = NULL;
		complete(&bus->answered);
	} else {
		dev_warn_ratelimited(bus->parent, "unexpected response: %*ph\n", 8, message->bytes);
	}
}

static void receive_event(struct amp_device *device, const struct message *message)
{
	unsigned int queue = message_u32(message, 8);

	if (message->bytes[1] == EVENT_CONFIG)
		virtio_config_changed(&device->virtio);
	else if (message->bytes[1] == EVENT_USED && queue < MAX_QUEUES && device->queues[queue])
		vring_interrupt(0, device->queues[queue]);
}

/* Called in the interrupt handler. */
void amp_bus_receive(struct amp_bus *bus, const struct message *message)
{
	unsigned int number = message_u16(message, 2);
	unsigned long flags;

	spin_lock_irqsave(&bus->device_lock, flags);
	if (message->bytes[0] & TYPE_RESPONSE)
		receive_response(bus, message);
	else if (message->bytes[0] & TYPE_BUS && message->bytes[1] == BUS_EVENT_DEVICE)
		receive_device_event(bus, message);
	else if (number < MAX_DEVICES && bus->devices[number])
		receive_event(bus->devices[number], message);
	spin_unlock_irqrestore(&bus->device_lock, flags);
}
EXPORT_SYMBOL_GPL(amp_bus_receive);

/* Find the devices; the carrier can receive. */
int amp_bus_start(struct amp_bus *bus)
{
	struct message message;
	unsigned int number;
	u32 bitmap;
	int error;

	bus->revision = find_revision(revision);
	if (!bus->revision) {
		dev_err(bus->parent, "revision is %s: must be v1, v1.1 or r1\n", revision);
		return -EINVAL;
	}
	mutex_init(&bus->request_lock);
	mutex_init(&bus->change_lock);
	init_completion(&bus->answered);
	spin_lock_init(&bus->device_lock);
	INIT_WORK(&bus->events, handle_events);
	bus->dead = false;
	set_running(bus, true);
	message_init(&message, TYPE_BUS, BUS_GET_DEVICES, 0, 12);
	put_unaligned_le16(MAX_DEVICES, message.bytes + 10);
	error = request(bus, NULL, &message);
	if (!error && message_u16(&message, bus->revision->next_offset) == MAX_DEVICES) {
		dev_err(bus->parent, "the device continues its list at 32: not revision %s\n",
			bus->revision->name);
		error = -EPROTO;
	}
	if (error) {
		amp_bus_stop(bus);
		return error;
	}
	bitmap = message_u32(&message, 14);
	mutex_lock(&bus->change_lock);
	for (number = 0; number < MAX_DEVICES; number++)
		if (bitmap & BIT(number))
			amp_device_add(bus, number);
	mutex_unlock(&bus->change_lock);
	return 0;
}
EXPORT_SYMBOL_GPL(amp_bus_start);

/* Remove the devices. The carrier can still send and receive. */
void amp_bus_stop(struct amp_bus *bus)
{
	unsigned int number;

	set_running(bus, false);
	cancel_work_sync(&bus->events);
	for (number = 0; number < MAX_DEVICES; number++)
		amp_device_remove(bus, number);
}
EXPORT_SYMBOL_GPL(amp_bus_stop);

MODULE_DESCRIPTION("Minimal virtio-msg transport, for tests");
MODULE_LICENSE("Dual BSD/GPL");
