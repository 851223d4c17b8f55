// SPDX-License-Identifier: BSD-2-Clause
/*
 * Pinned pages. The virtual machine has no IOMMU: bus addresses are physical addresses, which
 * Linux shows to root in pagemap.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define PRESENT (1ull << 63)
#define FRAME ((1ull << 55) - 1)

static void disable_compaction(void)
{
	static bool done;
	int fd;

	if (done)
		return;
	done = true;
	/* mlock prevents swapping, but compaction may move the page, in kernels that support it. */
	fd = open("/proc/sys/vm/compact_unevictable_allowed", O_WRONLY);
	if (fd >= 0) {
		if (write(fd, "0", 1) != 1)
			fail_errno("vm.compact_unevictable_allowed");
		close(fd);
	}
}

struct page page_allocate(void)
{
	struct page page;
	uint64_t entry;
	int fd;

	disable_compaction();
	page.bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page.bytes == MAP_FAILED || mlock(page.bytes, PAGE))
		fail_errno("allocating a locked page");
	memset(page.bytes, 0, PAGE);
	fd = open("/proc/self/pagemap", O_RDONLY);
	if (fd < 0 || pread(fd, &entry, sizeof(entry), (uintptr_t)page.bytes / PAGE * sizeof(entry)) !=
			      sizeof(entry))
		fail_errno("/proc/self/pagemap");
	close(fd);
	if (!(entry & PRESENT) || !(entry & FRAME))
		fail("a locked page has no physical address: pagemap has %#llx",
		     (unsigned long long)entry);
	page.bus = (entry & FRAME) * PAGE;
	return page;
}
