// SPDX-License-Identifier: BSD-2-Clause
/* Resolves the peer's address by ARP and pings it. Builds its own frames: Linux has no network. */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "guest.h"

#define HEADER sizeof(struct virtio_net_hdr_v1)
#define BUFFERS 4
#define IDENTIFIER 0x414d
#define LONGEST_WAIT_FRAMES 16

struct echo_frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct icmphdr icmp;
	uint8_t payload[PING_SIZE];
} __attribute__((packed));

struct arp_frame {
	struct ether_header ethernet;
	struct ether_arp arp;
} __attribute__((packed));

static const uint8_t own_ip[4] = NETWORK_OWN_IP, peer_ip[4] = NETWORK_PEER_IP;
static uint8_t own_mac[ETH_ALEN], peer_mac[ETH_ALEN];
static struct virtqueue *receive, *transmit;
static struct page frames[BUFFERS], out;
static unsigned frame_of[QUEUE_SIZE];

static void make_available(unsigned frame)
{
	struct piece buffer = {frames[frame].bus, PAGE, true};

	frame_of[virtqueue_add(receive, &buffer, 1)] = frame;
}

static void send_frame(const void *frame, size_t size)
{
	size_t padded = size < ETH_ZLEN ? ETH_ZLEN : size;
	struct piece packet = {out.bus, HEADER + padded, false};
	unsigned head;

	memset(out.bytes, 0, HEADER + padded);
	memcpy(out.bytes + HEADER, frame, size);
	virtqueue_add(transmit, &packet, 1);
	virtqueue_kick(transmit);
	virtqueue_await(transmit, &head, "completion of a sent frame");
}

/* Copies the next received frame and makes its buffer available again. */
static void receive_frame(void *frame, size_t size)
{
	uint32_t written;
	unsigned head, at;

	written = virtqueue_await(receive, &head, "received frame");
	at = frame_of[head];
	if (written < HEADER + ETH_HLEN || written > PAGE)
		fail("a received frame has %u bytes with its header", written);
	memset(frame, 0, size);
	memcpy(frame, frames[at].bytes + HEADER,
	       written - HEADER < size ? written - HEADER : size);
	make_available(at);
	virtqueue_kick(receive);
}

static void begin_frame(struct ether_header *ethernet, const uint8_t *to, uint16_t type)
{
	memcpy(ethernet->ether_dhost, to, ETH_ALEN);
	memcpy(ethernet->ether_shost, own_mac, ETH_ALEN);
	ethernet->ether_type = htons(type);
}

static void resolve(void)
{
	static const uint8_t broadcast[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct arp_frame request = {0}, reply;

	begin_frame(&request.ethernet, broadcast, ETHERTYPE_ARP);
	request.arp.arp_hrd = htons(ARPHRD_ETHER);
	request.arp.arp_pro = htons(ETHERTYPE_IP);
	request.arp.arp_hln = ETH_ALEN;
	request.arp.arp_pln = sizeof(own_ip);
	request.arp.arp_op = htons(ARPOP_REQUEST);
	memcpy(request.arp.arp_sha, own_mac, ETH_ALEN);
	memcpy(request.arp.arp_spa, own_ip, sizeof(own_ip));
	memcpy(request.arp.arp_tpa, peer_ip, sizeof(peer_ip));
	send_frame(&request, sizeof(request));
	for (int i = 0; i < LONGEST_WAIT_FRAMES; i++) {
		receive_frame(&reply, sizeof(reply));
		if (reply.ethernet.ether_type == htons(ETHERTYPE_ARP) &&
		    reply.arp.arp_op == htons(ARPOP_REPLY) &&
		    !memcmp(reply.arp.arp_spa, peer_ip, sizeof(peer_ip))) {
			memcpy(peer_mac, reply.arp.arp_sha, ETH_ALEN);
			return;
		}
	}
	fail("no ARP reply among %d frames", LONGEST_WAIT_FRAMES);
}

static uint16_t checksum(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i += 2)
		sum += at[i] << 8 | (i + 1 < size ? at[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum & 0xffff);
}

static void make_echo(struct echo_frame *frame, unsigned sequence)
{
	const size_t message = sizeof(frame->icmp) + PING_SIZE;

	*frame = (struct echo_frame){0};
	begin_frame(&frame->ethernet, peer_mac, ETHERTYPE_IP);
	frame->ip.version = IPVERSION;
	frame->ip.ihl = sizeof(frame->ip) / 4;
	frame->ip.tot_len = htons(sizeof(frame->ip) + message);
	frame->ip.frag_off = htons(IP_DF);
	frame->ip.ttl = IPDEFTTL;
	frame->ip.protocol = IPPROTO_ICMP;
	memcpy(&frame->ip.saddr, own_ip, sizeof(own_ip));
	memcpy(&frame->ip.daddr, peer_ip, sizeof(peer_ip));
	frame->ip.check = checksum(&frame->ip, sizeof(frame->ip));
	frame->icmp.type = ICMP_ECHO;
	frame->icmp.un.echo.id = htons(IDENTIFIER);
	frame->icmp.un.echo.sequence = htons(sequence);
	for (unsigned i = 0; i < PING_SIZE; i++)
		frame->payload[i] = sequence * 31 + i * 7;
	frame->icmp.checksum = checksum(&frame->icmp, message);
}

static bool answers(const struct echo_frame *reply, const struct echo_frame *request)
{
	return reply->ethernet.ether_type == htons(ETHERTYPE_IP) &&
	       reply->ip.protocol == IPPROTO_ICMP && reply->ip.saddr == request->ip.daddr &&
	       !checksum(&reply->ip, sizeof(reply->ip)) && reply->icmp.type == ICMP_ECHOREPLY &&
	       reply->icmp.un.echo.id == request->icmp.un.echo.id &&
	       reply->icmp.un.echo.sequence == request->icmp.un.echo.sequence &&
	       !checksum(&reply->icmp, sizeof(reply->icmp) + PING_SIZE);
}

static void ping(unsigned sequence)
{
	struct echo_frame request, reply;
	int64_t begin = now_us();

	make_echo(&request, sequence);
	send_frame(&request, sizeof(request));
	for (int i = 0; i < LONGEST_WAIT_FRAMES; i++) {
		receive_frame(&reply, sizeof(reply));
		if (!answers(&reply, &request))
			continue;
		if (memcmp(reply.payload, request.payload, PING_SIZE))
			fail("ping %u: the reply has another payload", sequence);
		report("ping", "\"sequence\": %u, \"round_trip_us\": %lld", sequence,
		       (long long)(now_us() - begin));
		return;
	}
	fail("no reply to ping %u among %d frames", sequence, LONGEST_WAIT_FRAMES);
}

void network_ping(void)
{
	struct device *device = device_bring_up(VIRTIO_ID_NET, 1ull << VIRTIO_NET_F_MAC);

	receive = &device->queues[NETWORK_RECEIVE];
	transmit = &device->queues[NETWORK_TRANSMIT];
	device_read_config(device, offsetof(struct virtio_net_config, mac), own_mac, ETH_ALEN);
	out = page_allocate();
	for (unsigned frame = 0; frame < BUFFERS; frame++) {
		frames[frame] = page_allocate();
		make_available(frame);
	}
	virtqueue_kick(receive);
	resolve();
	report_bytes("peer", peer_mac, ETH_ALEN);
	for (unsigned sequence = 1; sequence <= PINGS; sequence++)
		ping(sequence);
}
