// SPDX-License-Identifier: BSD-2-Clause
/* Discovery, and initialization of a device, in the Linux driver's order. */
#include <string.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "guest.h"

#define RESET_POLL_US 1000
#define WORD 32
#define BYTE 8

static struct device devices[AMP_MAX_DEVICES];
static unsigned num_devices;

static struct message send_request(const struct device *device, struct kind request,
				   struct kind response)
{
	struct message message = message_new(request, device->number);

	return messages_request(&message, response);
}

static void probe(unsigned number)
{
	struct device *device = &devices[num_devices++];
	struct message info;
	unsigned queues;

	*device = (struct device){.number = number};
	info = send_request(device, VMSG_DEVICE_INFO_REQUEST, VMSG_DEVICE_INFO_RESPONSE);
	device->virtio_id = message_get(&info, VMSG_DEVICE_INFO_RESPONSE_DEVICE_ID);
	device->config_size = message_get(&info, VMSG_DEVICE_INFO_RESPONSE_CONFIG_SIZE);
	queues = message_get(&info, VMSG_DEVICE_INFO_RESPONSE_MAX_VQS);
	if (message_get(&info, VMSG_DEVICE_INFO_RESPONSE_NUM_FEATURE_BITS) < 2 * WORD)
		fail("device %u has no feature bits above 31, but VERSION_1 is required", number);
	report("device", "\"number\": %u, \"virtio_id\": %u, \"queues\": %u, \"config_size\": %u",
	       number, device->virtio_id, queues, device->config_size);
}

void devices_discover(void)
{
	struct message request = message_new(VMSG_BUS_GET_DEVICES_REQUEST, 0), response;

	message_put(&request, VMSG_BUS_GET_DEVICES_REQUEST_OFFSET, 0);
	message_put(&request, VMSG_BUS_GET_DEVICES_REQUEST_NUM, AMP_MAX_DEVICES);
	response = messages_request(&request, VMSG_BUS_GET_DEVICES_RESPONSE);
	if (message_get(&response, VMSG_BUS_GET_DEVICES_RESPONSE_OFFSET) != 0 ||
	    message_get(&response, VMSG_BUS_GET_DEVICES_RESPONSE_NUM) != AMP_MAX_DEVICES)
		fail("the response to BUS_GET_DEVICES is for other devices");
	for (unsigned number = 0; number < AMP_MAX_DEVICES; number++) {
		uint8_t bits = response.bytes[VMSG_BUS_GET_DEVICES_RESPONSE_BITMAP_AT + number / BYTE];

		if (bits >> number % BYTE & 1)
			probe(number);
	}
}

static unsigned get_status(const struct device *device)
{
	struct message response = send_request(device, VMSG_GET_DEVICE_STATUS_REQUEST,
					       VMSG_GET_DEVICE_STATUS_RESPONSE);

	return message_get(&response, VMSG_GET_DEVICE_STATUS_RESPONSE_STATUS);
}

static void set_status(const struct device *device, unsigned status)
{
	struct message request = message_new(VMSG_SET_DEVICE_STATUS_REQUEST, device->number);

	message_put(&request, VMSG_SET_DEVICE_STATUS_REQUEST_STATUS, status);
	messages_request(&request, VMSG_SET_DEVICE_STATUS_RESPONSE);
}

static void add_status(const struct device *device, unsigned bit, const char *name)
{
	unsigned status;

	set_status(device, get_status(device) | bit);
	status = get_status(device);
	if (!(status & bit))
		fail("device %u: status is %#x: must have %s", device->number, status, name);
}

static void reset(const struct device *device)
{
	struct deadline reset_deadline = deadline("status 0 after a reset");

	set_status(device, 0);
	while (get_status(device) && deadline_remaining_us(&reset_deadline))
		usleep(RESET_POLL_US);
}

static void negotiate(const struct device *device, uint64_t features)
{
	const uint64_t needed = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM;
	struct message request = message_new(VMSG_GET_FEATURES_REQUEST, device->number), response;
	struct kind select = VMSG_SET_FEATURES_REQUEST;
	uint64_t offered, selected;

	message_put(&request, VMSG_GET_FEATURES_REQUEST_INDEX, 0);
	message_put(&request, VMSG_GET_FEATURES_REQUEST_NUM, 2);
	response = messages_request(&request, VMSG_GET_FEATURES_RESPONSE);
	offered = message_get(&response, VMSG_GET_FEATURES_RESPONSE_FEATURES_AT, sizeof(offered));
	if (needed & ~offered)
		fail("device %u: offers features %#llx: must have VERSION_1 and ACCESS_PLATFORM",
		     device->number, (unsigned long long)offered);
	selected = offered & (needed | features);
	select.size += sizeof(selected);
	request = message_new(select, device->number);
	message_put(&request, VMSG_SET_FEATURES_REQUEST_INDEX, 0);
	message_put(&request, VMSG_SET_FEATURES_REQUEST_NUM, 2);
	message_put(&request, VMSG_SET_FEATURES_REQUEST_FEATURES_AT, sizeof(selected), selected);
	messages_request(&request, VMSG_SET_FEATURES_RESPONSE);
	add_status(device, VIRTIO_CONFIG_S_FEATURES_OK, "FEATURES_OK");
}

static void set_up_queue(struct device *device, unsigned index)
{
	struct message request = message_new(VMSG_GET_VQUEUE_REQUEST, device->number), response;
	struct virtqueue *queue = &device->queues[index];
	unsigned max_size;

	message_put(&request, VMSG_GET_VQUEUE_REQUEST_INDEX, index);
	response = messages_request(&request, VMSG_GET_VQUEUE_RESPONSE);
	max_size = message_get(&response, VMSG_GET_VQUEUE_RESPONSE_MAX_SIZE);
	if (!max_size)
		return;
	virtqueue_make(queue, device->number, index, max_size);
	request = message_new(VMSG_SET_VQUEUE_REQUEST, device->number);
	message_put(&request, VMSG_SET_VQUEUE_REQUEST_INDEX, index);
	message_put(&request, VMSG_SET_VQUEUE_REQUEST_SIZE, queue->size);
	message_put(&request, VMSG_SET_VQUEUE_REQUEST_DESCRIPTOR_ADDR, queue->page.bus);
	message_put(&request, VMSG_SET_VQUEUE_REQUEST_DRIVER_ADDR,
		    queue->page.bus + ((uint8_t *)queue->available - queue->page.bytes));
	message_put(&request, VMSG_SET_VQUEUE_REQUEST_DEVICE_ADDR,
		    queue->page.bus + ((uint8_t *)queue->used - queue->page.bytes));
	messages_request(&request, VMSG_SET_VQUEUE_RESPONSE);
}

struct device *device_bring_up(unsigned virtio_id, uint64_t features)
{
	struct device *device = devices;

	while (device < devices + num_devices && device->virtio_id != virtio_id)
		device++;
	if (device == devices + num_devices)
		fail("no device has virtio id %u", virtio_id);
	reset(device);
	add_status(device, VIRTIO_CONFIG_S_ACKNOWLEDGE, "ACKNOWLEDGE");
	add_status(device, VIRTIO_CONFIG_S_DRIVER, "DRIVER");
	negotiate(device, features);
	for (unsigned index = 0; index < NUM_QUEUES; index++)
		set_up_queue(device, index);
	add_status(device, VIRTIO_CONFIG_S_DRIVER_OK, "DRIVER_OK");
	return device;
}

void device_read_config(const struct device *device, unsigned offset, void *to, unsigned size)
{
	struct message request = message_new(VMSG_GET_CONFIG_REQUEST, device->number), response;

	message_put(&request, VMSG_GET_CONFIG_REQUEST_OFFSET, offset);
	message_put(&request, VMSG_GET_CONFIG_REQUEST_SIZE, size);
	response = messages_request(&request, VMSG_GET_CONFIG_RESPONSE);
	if (message_get(&response, VMSG_GET_CONFIG_RESPONSE_SIZE) != size)
		fail("device %u: no configuration at %u, %u bytes", device->number, offset, size);
	memcpy(to, response.bytes + VMSG_GET_CONFIG_RESPONSE_DATA_AT, size);
}

void devices_shut_down(void)
{
	for (unsigned i = 0; i < num_devices; i++)
		reset(&devices[i]);
}
