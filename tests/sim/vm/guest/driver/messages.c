// SPDX-License-Identifier: BSD-2-Clause
/* Requests: one at a time, matched with its response by header and token. */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/unaligned.h>

#include "transport.h"

static unsigned int timeout_ms = 20000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "time limit of a request");

void message_init(struct message *message, u8 type, u8 id, u16 device, unsigned int size)
{
	memset(message, 0, sizeof(*message));
	message->bytes[0] = type;
	message->bytes[1] = id;
	put_unaligned_le16(device, message->bytes + 2);
	put_unaligned_le16(size, message->bytes + 6);
}

static int send_when_possible(struct amp_bus *bus, const struct message *message)
{
	unsigned long end = jiffies + msecs_to_jiffies(timeout_ms);
	int error;

	while ((error = bus->send(bus, message)) == -EAGAIN && time_before(jiffies, end))
		usleep_range(500, 1000);
	return error == -EAGAIN ? -ETIMEDOUT : error;
}

static void expect(struct amp_bus *bus, struct message *message)
{
	unsigned long flags;

	spin_lock_irqsave(&bus->device_lock, flags);
	bus->response = message;
	spin_unlock_irqrestore(&bus->device_lock, flags);
}

/*
 * Send the request and replace it by its response. device is NULL for a message to the bus. After
 * one time limit the bus is dead, so that its removal does not take one for each request.
 */
int request(struct amp_bus *bus, struct amp_device *device, struct message *message)
{
	struct message sent;
	int error = 0;

	mutex_lock(&bus->request_lock);
	if (bus->dead || (device && READ_ONCE(device->gone)))
		error = -ENODEV;
	if (!error) {
		/* 0 is the token of events. */
		bus->token = bus->token == U16_MAX ? 1 : bus->token + 1;
		put_unaligned_le16(bus->token, message->bytes + 4);
		sent = *message;
		reinit_completion(&bus->answered);
		expect(bus, message);
		error = send_when_possible(bus, &sent);
		if (!error && !wait_for_completion_timeout(&bus->answered,
							   msecs_to_jiffies(timeout_ms)))
			error = -ETIMEDOUT;
		expect(bus, NULL);
		if (error) {
			dev_err(bus->parent, "request %#x to device %u: no answer\n",
				sent.bytes[1], message_u16(&sent, 2));
			bus->dead = true;
		}
	}
	mutex_unlock(&bus->request_lock);
	return error;
}
