/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A minimal virtio-msg transport, which the kit for driver writers is tested with.
 *
 * amp_transport.ko sends requests and makes virtio devices of what answers; amp_pci.ko carries the
 * messages through FIFO 0 of the AMP PCI endpoint.
 */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <linux/completion.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/virtio.h>
#include <linux/workqueue.h>

#define MESSAGE_BYTES 64
#define MAX_DEVICES 32
#define MAX_QUEUES 8

enum message_type {
	TYPE_RESPONSE = 1 << 0,
	TYPE_BUS = 1 << 1,
};

enum message_id {
	DEVICE_INFO = 0x02,
	GET_FEATURES = 0x03,
	SET_FEATURES = 0x04,
	GET_CONFIG = 0x05,
	SET_CONFIG = 0x06,
	GET_STATUS = 0x07,
	SET_STATUS = 0x08,
	GET_VQUEUE = 0x09,
	SET_VQUEUE = 0x0a,
	EVENT_CONFIG = 0x40,
	EVENT_AVAIL = 0x41,
	EVENT_USED = 0x42,
	BUS_GET_DEVICES = 0x02,
	BUS_EVENT_DEVICE = 0x40,
};

enum device_event { DEVICE_ADDED = 1, DEVICE_REMOVED = 2 };

/* Fields are little-endian. The payload is accessed by offset from the start of the message. */
struct message {
	u8 bytes[MESSAGE_BYTES];
};

static inline u16 message_u16(const struct message *message, unsigned int offset)
{
	return get_unaligned_le16(message->bytes + offset);
}

static inline u32 message_u32(const struct message *message, unsigned int offset)
{
	return get_unaligned_le32(message->bytes + offset);
}

/* The layouts in which the wire revisions differ. */
struct revision {
	const char *name;
	unsigned int max_size;		/* of a message, in bytes */
	unsigned int next_offset;	/* in BUS_GET_DEVICES's response */
	unsigned int max_queues;	/* in DEVICE_INFO's response */
	u32 queue_flags;		/* of SET_VQUEUE: 1 enables the queue in r1 */
};

struct amp_bus;

struct amp_device {
	struct virtio_device virtio;
	struct amp_bus *bus;
	unsigned int number;
	unsigned int max_queues;
	bool gone;			/* fail requests: the device is removed */
	struct virtqueue *queues[MAX_QUEUES];
	struct work_struct resend;	/* of the EVENT_AVAIL that found a full FIFO */
	unsigned long unsent;		/* their queues, a bit each */
};

#define to_amp_device(device) container_of(device, struct amp_device, virtio)

/*
 * The carrier of messages. send() returns -EAGAIN while the FIFO is full, and may be called in any
 * context.
 */
struct amp_bus {
	struct device *parent;
	int (*send)(struct amp_bus *bus, const struct message *message);

	/* Of the transport. */
	const struct revision *revision;
	struct mutex request_lock;	/* one request is outstanding */
	struct completion answered;
	struct message *response;	/* of the outstanding request; under device_lock */
	u16 token;
	bool dead;			/* a request was not answered: fail the others at once */
	spinlock_t device_lock;
	struct amp_device *devices[MAX_DEVICES];
	struct mutex change_lock;	/* serializes changes of the devices */
	struct work_struct events;	/* devices that are added and removed */
	bool running;			/* schedule events; under device_lock */
	u32 added, removed;		/* their numbers, a bit each; under device_lock */
};

/* bus.c */
int amp_bus_start(struct amp_bus *bus);
void amp_bus_stop(struct amp_bus *bus);
void amp_bus_receive(struct amp_bus *bus, const struct message *message);

/* messages.c */
void message_init(struct message *message, u8 type, u8 id, u16 device, unsigned int size);
int request(struct amp_bus *bus, struct amp_device *device, struct message *message);

/* virtio.c */
int amp_device_add(struct amp_bus *bus, unsigned int number);
void amp_device_remove(struct amp_bus *bus, unsigned int number);

#endif
