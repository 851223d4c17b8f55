// SPDX-License-Identifier: BSD-2-Clause
/*
 * Common declarations of the guest's program. facts.h is generated and has the constants shared by
 * driver and endpoint; constants of virtio and PCI come from Linux's headers.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "facts.h"

#define PAGE 4096
#define QUEUE_SIZE 16
#define NUM_QUEUES 2

/* report.c: lines of JSON for the host, and the end of the guest */
void report_open(void);
void report(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void report_bytes(const char *event, const uint8_t *bytes, size_t size);
void report_text(const char *event, const uint8_t *text, size_t size);
void step(const char *name);
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void fail_errno(const char *what) __attribute__((noreturn));
void finish(void) __attribute__((noreturn));
int64_t now_us(void);

/* A time limit. deadline_remaining_us() fails once it has passed, with `what` in the text. */
#define TIMEOUT_US 20000000
struct deadline {
	int64_t end_us;
	const char *what;
};
struct deadline deadline(const char *what);
int64_t deadline_remaining_us(const struct deadline *deadline);

/* pci.c: the function as Linux sees it */
void pci_find(void);
void pci_report(void);
volatile uint8_t *pci_map_bar(int bar, size_t size);

/* mmio.c */
void mmio_check_registers(volatile uint8_t *registers);
void mmio_check_accesses(volatile uint8_t *area);
void mmio_measure(volatile uint8_t *area);

/* interrupts.c: interrupts, counted by the module */
void interrupts_load_module(void);
void interrupts_unload_module(void);
void interrupts_open(void);
void interrupts_wait(const struct deadline *deadline);
uint64_t interrupts_counted(unsigned vector);
uint64_t interrupts_total(void);

/* memory.c: pinned pages and their bus addresses */
struct page {
	uint8_t *bytes;
	uint64_t bus;
};
struct page page_allocate(void);

/* messages.c: the queues of a FIFO in BAR1, and messages over them */
struct message {
	uint8_t bytes[VMSG_SLOT_SIZE];
};
struct kind {
	uint8_t type, id;
	uint16_t size;
	const char *name;
};
uint64_t message_get(const struct message *message, unsigned offset, unsigned size);
void message_put(struct message *message, unsigned offset, unsigned size, uint64_t value);
struct message message_new(struct kind kind, unsigned dev_num);
void messages_open(volatile uint8_t *registers, volatile uint8_t *fifos, unsigned fifo);
void messages_send(const struct message *message);
struct message messages_request(const struct message *request, struct kind response);
bool messages_clear_used(unsigned dev_num, unsigned queue);
void messages_await_used(unsigned dev_num, unsigned queue, const struct deadline *deadline);
void messages_ping(uint32_t data);
void messages_report(void);

/* virtqueue.c: split virtqueues, each in one page */
struct virtqueue {
	unsigned dev_num, index, size;
	struct page page;
	struct vring_desc *descriptors;
	struct vring_avail *available;
	struct vring_used *used;
	uint16_t used_seen, next_free;
	unsigned free;
};
struct piece {
	uint64_t bus;
	uint32_t size;
	bool writable;
};
void virtqueue_make(struct virtqueue *queue, unsigned dev_num, unsigned index, unsigned max_size);
unsigned virtqueue_add(struct virtqueue *queue, const struct piece *pieces, unsigned count);
void virtqueue_kick(struct virtqueue *queue);
uint32_t virtqueue_await(struct virtqueue *queue, unsigned *head, const char *what);

/* device.c: discovery, and initialization of a device */
struct device {
	unsigned number, virtio_id, config_size;
	struct virtqueue queues[NUM_QUEUES];
};
void devices_discover(void);
struct device *device_bring_up(unsigned virtio_id, uint64_t features);
void device_read_config(const struct device *device, unsigned offset, void *to, unsigned size);
void devices_shut_down(void);

/* Data transfers with each device. */
void entropy_read(void);
void block_copy(void);
void console_talk(void);
void network_ping(void);

#endif
