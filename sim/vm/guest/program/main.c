// SPDX-License-Identifier: BSD-2-Clause
/*
 * Process 1 of the guest: a user space driver for the virtio-msg AMP PCI endpoint, which brings up
 * the devices behind it and transfers data with each. The host checks the results.
 */
#include <sys/mount.h>
#include <sys/utsname.h>

#include "guest.h"

#define BUS_PINGS 16

static const unsigned vectors[AMP_NUM_FIFOS] = AMP_VECTORS;

static void mount_all(void)
{
	static const char *const systems[][2] = {
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}};

	for (int i = 0; i < 3; i++)
		mount(systems[i][0], systems[i][1], systems[i][0], 0, NULL);
	report_open();
}

/* One message each way at a time: each response raises one interrupt, which cannot merge. */
static void count_interrupts(unsigned fifo)
{
	uint64_t before = interrupts_counted(vectors[fifo]);

	for (uint32_t i = 0; i < BUS_PINGS; i++)
		messages_ping(0x9e3779b9 * (i + 1));
	report("pings", "\"fifo\": %u, \"pings\": %d, \"vector\": %u, \"interrupts\": %llu", fifo,
	       BUS_PINGS, vectors[fifo],
	       (unsigned long long)(interrupts_counted(vectors[fifo]) - before));
}

int main(void)
{
	volatile uint8_t *registers, *fifos;
	struct utsname kernel;

	mount_all();
	uname(&kernel);
	report("booted", "\"kernel\": \"%s\"", kernel.release);

	step("enumeration");
	pci_find();
	interrupts_load_module();
	pci_report();

	step("registers");
	registers = pci_map_bar(AMP_REGISTER_BAR, AMP_REGISTER_BAR_SIZE);
	fifos = pci_map_bar(AMP_FIFO_BAR, AMP_FIFO_BAR_SIZE);
	mmio_check_registers(registers);
	step("accesses");
	mmio_check_accesses(fifos + AMP_SPARE_OFFSET);
	step("rates");
	mmio_measure(fifos + AMP_SPARE_OFFSET);

	step("interrupts");
	interrupts_open();
	/* FIFO 0 is last, since the rest of the program uses it. */
	for (unsigned fifo = AMP_NUM_FIFOS; fifo--;) {
		messages_open(registers, fifos, fifo);
		count_interrupts(fifo);
	}

	step("discovery");
	devices_discover();
	step("entropy");
	entropy_read();
	step("block");
	block_copy();
	step("console");
	console_talk();
	step("network");
	network_ping();

	step("shutdown");
	devices_shut_down();
	/* Messages stay in order: all messages of the devices precede the response to this PING. */
	messages_ping(~0u);
	messages_report();
	interrupts_unload_module();
	finish();
}
