// SPDX-License-Identifier: BSD-2-Clause
/* Waits for interrupts, which the module counts. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

#define MODULE "amp_irq"
#define MODULE_FILE "/amp_irq.ko"
#define COUNTS "/dev/amp_irq"

static int counts_fd = -1;
static uint64_t counts[AMP_MAX_VECTORS];

void interrupts_load_module(void)
{
	int fd = open(MODULE_FILE, O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		fail_errno(MODULE_FILE);
	close(fd);
}

/* Removes the device file, frees the vectors, disables bus mastering: no DMA may be in flight. */
void interrupts_unload_module(void)
{
	close(counts_fd);
	counts_fd = -1;
	if (syscall(SYS_delete_module, MODULE, O_NONBLOCK))
		fail_errno("unloading " MODULE);
}

void interrupts_open(void)
{
	counts_fd = open(COUNTS, O_RDONLY | O_NONBLOCK);
	if (counts_fd < 0)
		fail_errno(COUNTS);
}

static void read_counts(void)
{
	/* EAGAIN: the counts have not changed since the last read. */
	if (read(counts_fd, counts, sizeof(counts)) < 0 && errno != EAGAIN)
		fail_errno(COUNTS);
}

/* Returns after an interrupt that no previous call returned for, or at the deadline. */
void interrupts_wait(const struct deadline *deadline)
{
	struct pollfd poll_counts = {.fd = counts_fd, .events = POLLIN};
	int64_t remaining_us = deadline_remaining_us(deadline);

	if (poll(&poll_counts, 1, (int)(remaining_us / 1000) + 1) < 0)
		fail_errno(COUNTS);
	read_counts();
}

uint64_t interrupts_counted(unsigned vector)
{
	read_counts();
	return counts[vector];
}

uint64_t interrupts_total(void)
{
	uint64_t total = 0;

	read_counts();
	for (int vector = 0; vector < AMP_MAX_VECTORS; vector++)
		total += counts[vector];
	return total;
}
