// SPDX-License-Identifier: BSD-2-Clause
/* The PCI function as Linux sees it: its attributes in sysfs, and the capabilities in `config`. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "guest.h"

#define DEVICES "/sys/bus/pci/devices"
#define IORESOURCE_PREFETCH 0x2000
#define NUM_BARS 6
#define CONFIG_SIZE 256
#define MOST_CAPABILITIES 48

static char address[32];

static FILE *open_attribute(const char *function, const char *name)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), DEVICES "/%.16s/%s", function, name);
	file = fopen(path, "r");
	if (!file)
		fail_errno(path);
	return file;
}

static unsigned attribute(const char *function, const char *name)
{
	FILE *file = open_attribute(function, name);
	unsigned value;

	if (fscanf(file, "%x", &value) != 1)
		fail("%s of %s is not a number", name, function);
	fclose(file);
	return value;
}

void pci_find(void)
{
	DIR *folder = opendir(DEVICES);
	struct dirent *entry;

	if (!folder)
		fail_errno(DEVICES);
	while ((entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] == '.' || attribute(entry->d_name, "vendor") != AMP_VENDOR_ID ||
		    attribute(entry->d_name, "device") != AMP_DEVICE_ID)
			continue;
		if (address[0])
			fail("there are two functions %04x:%04x", AMP_VENDOR_ID, AMP_DEVICE_ID);
		snprintf(address, sizeof(address), "%s", entry->d_name);
	}
	closedir(folder);
	if (!address[0])
		fail("there is no PCI function %04x:%04x", AMP_VENDOR_ID, AMP_DEVICE_ID);
}

static void report_bars(void)
{
	FILE *file = open_attribute(address, "resource");
	uint64_t first, last, flags;

	for (int bar = 0; bar < NUM_BARS; bar++) {
		if (fscanf(file, "%" SCNx64 " %" SCNx64 " %" SCNx64, &first, &last, &flags) != 3)
			fail("the resources of %s end before BAR%d", address, bar);
		if (flags)
			report("bar",
			       "\"bar\": %d, \"size\": %" PRIu64 ", \"address\": %" PRIu64
			       ", \"prefetchable\": %s",
			       bar, last - first + 1, first,
			       flags & IORESOURCE_PREFETCH ? "true" : "false");
	}
	fclose(file);
}

static void report_capability(const uint8_t *config, unsigned at)
{
	uint16_t control;
	uint32_t table, pending;

	if (config[at] != PCI_CAP_ID_MSIX) {
		report("capability", "\"id\": %u, \"offset\": %u", config[at], at);
		return;
	}
	memcpy(&control, config + at + PCI_MSIX_FLAGS, sizeof(control));
	memcpy(&table, config + at + PCI_MSIX_TABLE, sizeof(table));
	memcpy(&pending, config + at + PCI_MSIX_PBA, sizeof(pending));
	report("capability",
	       "\"id\": %u, \"offset\": %u, \"vectors\": %u, \"enabled\": %s, \"table_bar\": %u, "
	       "\"table_offset\": %u, \"pba_bar\": %u, \"pba_offset\": %u",
	       config[at], at, (control & PCI_MSIX_FLAGS_QSIZE) + 1u,
	       control & PCI_MSIX_FLAGS_ENABLE ? "true" : "false", table & PCI_MSIX_TABLE_BIR,
	       table & PCI_MSIX_TABLE_OFFSET, pending & PCI_MSIX_PBA_BIR,
	       pending & PCI_MSIX_PBA_OFFSET);
}

static void report_capabilities(void)
{
	uint8_t config[CONFIG_SIZE];
	FILE *file = open_attribute(address, "config");
	unsigned at;

	if (fread(config, 1, sizeof(config), file) != sizeof(config))
		fail("the configuration space of %s is shorter than %d bytes", address, CONFIG_SIZE);
	fclose(file);
	at = config[PCI_CAPABILITY_LIST];
	for (int count = 0; at; at = config[at + PCI_CAP_LIST_NEXT]) {
		if (at < PCI_STD_HEADER_SIZEOF || at % 4 || ++count > MOST_CAPABILITIES)
			fail("the list of capabilities is invalid at %#x", at);
		report_capability(config, at);
	}
}

void pci_report(void)
{
	report("function",
	       "\"address\": \"%s\", \"vendor_id\": %u, \"device_id\": %u, \"revision\": %u, "
	       "\"class_code\": %u, \"subsystem_vendor_id\": %u, \"subsystem_id\": %u",
	       address, attribute(address, "vendor"), attribute(address, "device"),
	       attribute(address, "revision"), attribute(address, "class"),
	       attribute(address, "subsystem_vendor"), attribute(address, "subsystem_device"));
	report_bars();
	report_capabilities();
}

volatile uint8_t *pci_map_bar(int bar, size_t size)
{
	char path[128];
	void *memory;
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/resource%d", address, bar);
	fd = open(path, O_RDWR | O_SYNC);
	if (fd < 0)
		fail_errno(path);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		fail_errno(path);
	close(fd);
	return memory;
}
