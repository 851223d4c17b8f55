// SPDX-License-Identifier: BSD-2-Clause
/* Reports to the host, as lines of JSON over the second serial port, and ends the guest. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

static FILE *host;
static const char *current_step = "boot";

int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct deadline deadline(const char *what)
{
	return (struct deadline){.end_us = now_us() + TIMEOUT_US, .what = what};
}

int64_t deadline_remaining_us(const struct deadline *deadline)
{
	int64_t remaining = deadline->end_us - now_us();

	if (remaining <= 0)
		fail("%s: time limit of %d s exceeded", deadline->what, TIMEOUT_US / 1000000);
	return remaining;
}

static void end_guest(void)
{
	fflush(NULL);
	if (host)
		tcdrain(fileno(host));
	/* QEMU runs with -no-reboot: a reboot ends it. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

void report_open(void)
{
	struct termios settings;
	int fd = open("/dev/ttyS1", O_WRONLY | O_NOCTTY);

	if (fd < 0 || tcgetattr(fd, &settings)) {
		perror("/dev/ttyS1");
		end_guest();
	}
	cfmakeraw(&settings);
	tcsetattr(fd, TCSANOW, &settings);
	host = fdopen(fd, "w");
}

static void put_string(const uint8_t *text, size_t size)
{
	fputc('"', host);
	for (size_t i = 0; i < size; i++) {
		if (text[i] < ' ' || text[i] > '~' || strchr("\"\\", text[i]))
			fprintf(host, "\\u%04x", text[i]);
		else
			fputc(text[i], host);
	}
	fputc('"', host);
}

static void begin(const char *event)
{
	fprintf(host, "{\"event\": \"%s\", \"step\": \"%s\"", event, current_step);
}

static void end(void)
{
	fputs("}\n", host);
	fflush(host);
}

void report(const char *event, const char *format, ...)
{
	va_list arguments;

	begin(event);
	fputs(", ", host);
	va_start(arguments, format);
	vfprintf(host, format, arguments);
	va_end(arguments);
	end();
}

void report_bytes(const char *event, const uint8_t *bytes, size_t size)
{
	begin(event);
	fputs(", \"hex\": \"", host);
	for (size_t i = 0; i < size; i++)
		fprintf(host, "%02x", bytes[i]);
	fputc('"', host);
	end();
}

void report_text(const char *event, const uint8_t *text, size_t size)
{
	begin(event);
	fputs(", \"text\": ", host);
	put_string(text, size);
	end();
}

void step(const char *name)
{
	current_step = name;
	begin("step");
	end();
}

void fail(const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	report_text("failed", (const uint8_t *)text, strlen(text));
	end_guest();
	abort();
}

void fail_errno(const char *what)
{
	fail("%s: %s", what, strerror(errno));
}

void finish(void)
{
	begin("done");
	end();
	end_guest();
	abort();
}
