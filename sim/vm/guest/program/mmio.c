// SPDX-License-Identifier: BSD-2-Clause
/* Reads and writes of the BARs: checks each width, and measures the rates. */
#include <inttypes.h>
#include <string.h>

#include "guest.h"

#define AREA 32
#define READS 500
#define WRITES 2000

static uint64_t read_width(volatile uint8_t *at, unsigned width)
{
	switch (width) {
	case 1:
		return *at;
	case 2:
		return *(volatile uint16_t *)at;
	case 4:
		return *(volatile uint32_t *)at;
	default:
		return *(volatile uint64_t *)at;
	}
}

static void write_width(volatile uint8_t *at, unsigned width, uint64_t value)
{
	switch (width) {
	case 1:
		*at = value;
		break;
	case 2:
		*(volatile uint16_t *)at = value;
		break;
	case 4:
		*(volatile uint32_t *)at = value;
		break;
	default:
		*(volatile uint64_t *)at = value;
	}
}

static void copy_in(volatile uint8_t *area, const uint8_t *from)
{
	for (unsigned at = 0; at < AREA; at += 8) {
		uint64_t word;

		memcpy(&word, from + at, sizeof(word));
		write_width(area + at, 8, word);
	}
}

static void compare(volatile uint8_t *area, const uint8_t *expected, unsigned width, unsigned at)
{
	for (unsigned word = 0; word < AREA; word += 8) {
		uint64_t found = read_width(area + word, 8), expected_word;

		memcpy(&expected_word, expected + word, sizeof(expected_word));
		if (found != expected_word)
			fail("after a write of %u bytes at %u, bytes %u to %u are %016" PRIx64
			     ": must be %016" PRIx64,
			     width, at, word, word + 7, found, expected_word);
	}
}

static void check_access(volatile uint8_t *area, uint8_t *expected, unsigned width, unsigned at)
{
	uint64_t value = 0, found;

	for (unsigned byte = 0; byte < width; byte++) {
		expected[at + byte] ^= 0x5a + byte;
		value |= (uint64_t)expected[at + byte] << 8 * byte;
	}
	write_width(area + at, width, value);
	found = read_width(area + at, width);
	if (found != value)
		fail("a read of %u bytes at %u gives %" PRIx64 ": must be %" PRIx64, width, at, found,
		     value);
	compare(area, expected, width, at);
}

void mmio_check_registers(volatile uint8_t *registers)
{
	uint64_t version = read_width(registers + AMP_VERSION_OFFSET, 4);
	uint64_t features = read_width(registers + AMP_FEATURES_OFFSET, 4);

	report("registers", "\"version\": %" PRIu64 ", \"features\": %" PRIu64, version, features);
	if (version != AMP_VERSION)
		fail("VERSION reads %#" PRIx64 ": must be %#x", version, AMP_VERSION);
	if (features != AMP_FEATURES)
		fail("FEATURES reads %#" PRIx64 ": must be %#x", features, AMP_FEATURES);
}

void mmio_check_accesses(volatile uint8_t *area)
{
	static const uint8_t zeros[AREA];
	uint8_t expected[AREA];
	unsigned checked = 0;

	for (unsigned byte = 0; byte < AREA; byte++)
		expected[byte] = 0x80 | byte;
	copy_in(area, expected);
	compare(area, expected, AREA, 0);
	for (unsigned width = 1; width <= 8; width *= 2)
		for (unsigned at = 8; at < 16; at += width, checked++)
			check_access(area, expected, width, at);
	copy_in(area, zeros);
	compare(area, zeros, AREA, 0);
	report("accesses", "\"accesses\": %u", checked);
}

void mmio_measure(volatile uint8_t *area)
{
	int64_t begin = now_us(), read_us, write_us;

	for (int i = 0; i < READS; i++)
		read_width(area, 4);
	read_us = now_us() - begin;

	begin = now_us();
	for (int i = 0; i < WRITES; i++)
		write_width(area + 8 * (i % 8), 8, i);
	/* Writes are posted: the completion of a later read shows that they are done. */
	read_width(area, 4);
	write_us = now_us() - begin;
	for (int i = 0; i < 8; i++)
		write_width(area + 8 * i, 8, 0);
	report("rates", "\"mmio_reads_per_s\": %.0f, \"mmio_writes_per_s\": %.0f",
	       READS * 1e6 / read_us, WRITES * 1e6 / write_us);
}
