// SPDX-License-Identifier: BSD-2-Clause
/* The two queues of a FIFO in BAR1, and requests and responses over them. */
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define FULL_POLL_US 1000
#define barrier() __asm__ __volatile__("" ::: "memory")

struct spsc {
	volatile uint8_t *base;
	uint32_t head, tail;
};

static volatile uint8_t *doorbell;
static struct spsc to_device, to_driver;
static unsigned sent, received, unclaimed, used_events;
static unsigned used_counts[AMP_MAX_DEVICES][NUM_QUEUES];
static uint16_t last_token;

uint64_t message_get(const struct message *message, unsigned offset, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, message->bytes + offset, size);
	return value;
}

void message_put(struct message *message, unsigned offset, unsigned size, uint64_t value)
{
	memcpy(message->bytes + offset, &value, size);
}

struct message message_new(struct kind kind, unsigned dev_num)
{
	struct message message = {{0}};

	message_put(&message, VMSG_HEADER_TYPE, kind.type);
	message_put(&message, VMSG_HEADER_MSG_ID, kind.id);
	message_put(&message, VMSG_HEADER_DEV_NUM, dev_num);
	message_put(&message, VMSG_HEADER_MSG_SIZE, kind.size);
	return message;
}

static volatile uint32_t *word(const struct spsc *queue, unsigned offset)
{
	return (volatile uint32_t *)(queue->base + offset);
}

static volatile uint64_t *slot(const struct spsc *queue, uint32_t index)
{
	return (volatile uint64_t *)(queue->base + SPSC_SLOTS_OFFSET + index * VMSG_SLOT_SIZE);
}

static uint32_t next(uint32_t index)
{
	return index + 1 == SPSC_CAPACITY ? 0 : index + 1;
}

static void open_queue(struct spsc *queue, volatile uint8_t *base)
{
	queue->base = base;
	queue->head = *word(queue, SPSC_HEAD_OFFSET);
	queue->tail = *word(queue, SPSC_TAIL_OFFSET);
	if (queue->head >= SPSC_CAPACITY || queue->tail >= SPSC_CAPACITY)
		fail("indices of a queue are %u and %u: must be below %u", queue->head, queue->tail,
		     SPSC_CAPACITY);
}

void messages_open(volatile uint8_t *registers, volatile uint8_t *fifos, unsigned fifo)
{
	volatile uint8_t *window = fifos + fifo * AMP_FIFO_STRIDE;

	doorbell = registers + AMP_NOTIFY_OFFSET + fifo * AMP_NOTIFY_STRIDE;
	open_queue(&to_device, window + AMP_DRIVER_QUEUE);
	open_queue(&to_driver, window + AMP_DEVICE_QUEUE);
}

void messages_send(const struct message *message)
{
	struct deadline queue_space = deadline("space in the driver queue");
	uint32_t new_head = next(to_device.head);
	uint64_t words[VMSG_SLOT_SIZE / 8];

	while (new_head == to_device.tail) {
		to_device.tail = *word(&to_device, SPSC_TAIL_OFFSET);
		if (new_head == to_device.tail && deadline_remaining_us(&queue_space))
			usleep(FULL_POLL_US);
	}
	memcpy(words, message->bytes, sizeof(words));
	for (unsigned i = 0; i < VMSG_SLOT_SIZE / 8; i++)
		slot(&to_device, to_device.head)[i] = words[i];
	/* Memory that the device reads is written before the doorbell; x86 keeps stores in order. */
	barrier();
	*word(&to_device, SPSC_HEAD_OFFSET) = new_head;
	to_device.head = new_head;
	*(volatile uint32_t *)doorbell = 1;
	sent++;
}

static struct message receive_message(void)
{
	struct message message = {{0}};
	uint64_t words[VMSG_SLOT_SIZE / 8] = {slot(&to_driver, to_driver.tail)[0]};
	unsigned size;

	memcpy(message.bytes, words, 8);
	size = message_get(&message, VMSG_HEADER_MSG_SIZE);
	if (size < VMSG_HEADER_SIZE || size > VMSG_MAX_SIZE)
		fail("msg_size of a message is %u: must be %u to %u", size, VMSG_HEADER_SIZE,
		     VMSG_MAX_SIZE);
	/* Each read is a round trip: read only the words of the message. */
	for (unsigned i = 1; 8 * i < size; i++)
		words[i] = slot(&to_driver, to_driver.tail)[i];
	memcpy(message.bytes, words, size);
	to_driver.tail = next(to_driver.tail);
	*word(&to_driver, SPSC_TAIL_OFFSET) = to_driver.tail;
	received++;
	return message;
}

static bool matches(const struct message *message, struct kind kind)
{
	return message_get(message, VMSG_HEADER_TYPE) == kind.type &&
	       message_get(message, VMSG_HEADER_MSG_ID) == kind.id &&
	       message_get(message, VMSG_HEADER_MSG_SIZE) >= kind.size;
}

static void count_event(const struct message *message)
{
	uint64_t dev_num = message_get(message, VMSG_HEADER_DEV_NUM);
	uint64_t queue = message_get(message, VMSG_EVENT_USED_EVENT_INDEX);

	if (matches(message, VMSG_EVENT_USED_EVENT) && dev_num < AMP_MAX_DEVICES && queue < NUM_QUEUES) {
		used_counts[dev_num][queue]++;
		used_events++;
	} else {
		unclaimed++;
	}
}

/*
 * Waits for an interrupt and drains the device queue; returns whether one of the messages answers
 * `request`, copied to `answer`.
 */
static bool drain_device_queue(const struct deadline *deadline, const struct message *request,
			       struct kind response, struct message *answer)
{
	bool answered = false;

	interrupts_wait(deadline);
	to_driver.head = *word(&to_driver, SPSC_HEAD_OFFSET);
	if (to_driver.head >= SPSC_CAPACITY)
		fail("head of the device queue is %u: must be below %u", to_driver.head,
		     SPSC_CAPACITY);
	while (to_driver.tail != to_driver.head) {
		struct message message = receive_message();

		if (request && !answered && matches(&message, response) &&
		    message_get(&message, VMSG_HEADER_DEV_NUM) ==
			    message_get(request, VMSG_HEADER_DEV_NUM) &&
		    message_get(&message, VMSG_HEADER_TOKEN) ==
			    message_get(request, VMSG_HEADER_TOKEN)) {
			*answer = message;
			answered = true;
		} else {
			count_event(&message);
		}
	}
	return answered;
}

struct message messages_request(const struct message *request, struct kind response)
{
	struct message sent_request = *request, answer;
	char what[64] = "response to ";
	struct deadline response_deadline = deadline(strncat(what, response.name, 40));

	message_put(&sent_request, VMSG_HEADER_TOKEN, ++last_token);
	messages_send(&sent_request);
	while (!drain_device_queue(&response_deadline, &sent_request, response, &answer))
		;
	return answer;
}

bool messages_clear_used(unsigned dev_num, unsigned queue)
{
	bool was_used = used_counts[dev_num][queue];

	used_counts[dev_num][queue] = 0;
	return was_used;
}

void messages_await_used(unsigned dev_num, unsigned queue, const struct deadline *deadline)
{
	while (!used_counts[dev_num][queue])
		drain_device_queue(deadline, NULL, VMSG_EVENT_USED_EVENT, NULL);
}

void messages_ping(uint32_t data)
{
	struct message request = message_new(VMSG_BUS_PING_REQUEST, 0), answer;

	message_put(&request, VMSG_BUS_PING_REQUEST_DATA, data);
	answer = messages_request(&request, VMSG_BUS_PING_RESPONSE);
	if (message_get(&answer, VMSG_BUS_PING_RESPONSE_DATA) != data)
		fail("the response to PING %#x has data %#llx", data,
		     (unsigned long long)message_get(&answer, VMSG_BUS_PING_RESPONSE_DATA));
}

void messages_report(void)
{
	report("messages",
	       "\"messages_to_device\": %u, \"messages_to_driver\": %u, \"used_events\": %u, "
	       "\"unclaimed\": %u, \"interrupts\": %llu",
	       sent, received, used_events, unclaimed, (unsigned long long)interrupts_total());
}
