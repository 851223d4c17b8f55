// SPDX-License-Identifier: BSD-2-Clause
/* The AMP PCI endpoint: FIFO 0 in BAR1, its doorbell in BAR0, its interrupt MSI-X vector 0. */
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/unaligned.h>

#include "transport.h"

#define REGISTER_BAR 0
#define FIFO_BAR 1
#define DOORBELL 0x20
#define DRIVER_QUEUE 0x1000
#define DEVICE_QUEUE 0x2000
#define TAIL 0x40
#define SLOTS 0x80
#define CAPACITY 62

struct amp_pci {
	struct amp_bus bus;
	void __iomem *registers;
	void __iomem *fifo;
	spinlock_t send_lock;
	u32 head, tail;			/* of the driver queue; tail as last read */
	u32 received;			/* tail of the device queue */
	int irq;
};

static u32 read_index(struct amp_pci *amp, unsigned int offset)
{
	return readl(amp->fifo + offset) % CAPACITY;
}

static int amp_send(struct amp_bus *bus, const struct message *message)
{
	struct amp_pci *amp = container_of(bus, struct amp_pci, bus);
	void __iomem *slot;
	unsigned long flags;
	int i, error = 0;
	u32 next;

	spin_lock_irqsave(&amp->send_lock, flags);
	next = (amp->head + 1) % CAPACITY;
	if (next == amp->tail)
		amp->tail = read_index(amp, DRIVER_QUEUE + TAIL);
	if (next == amp->tail) {
		error = -EAGAIN;
	} else {
		slot = amp->fifo + DRIVER_QUEUE + SLOTS + amp->head * MESSAGE_BYTES;
		for (i = 0; i < MESSAGE_BYTES; i += 8)
			writeq(get_unaligned_le64(message->bytes + i), slot + i);
		/* BAR1 is mapped write-combining: the slot is visible before its index. */
		wmb();
		amp->head = next;
		writel(next, amp->fifo + DRIVER_QUEUE);
		wmb();
		writel(1, amp->registers + DOORBELL);
	}
	spin_unlock_irqrestore(&amp->send_lock, flags);
	return error;
}

static irqreturn_t amp_interrupt(int irq, void *data)
{
	struct amp_pci *amp = data;
	struct message message;
	void __iomem *slot;
	u32 head;
	int i;

	while ((head = read_index(amp, DEVICE_QUEUE)) != amp->received) {
		while (amp->received != head) {
			slot = amp->fifo + DEVICE_QUEUE + SLOTS + amp->received * MESSAGE_BYTES;
			for (i = 0; i < MESSAGE_BYTES; i += 8)
				put_unaligned_le64(readq(slot + i), message.bytes + i);
			amp->received = (amp->received + 1) % CAPACITY;
			writel(amp->received, amp->fifo + DEVICE_QUEUE + TAIL);
			amp_bus_receive(&amp->bus, &message);
		}
	}
	return IRQ_HANDLED;
}

/* Resume the queues where they are; messages to a driver before this one are discarded. */
static int start(struct pci_dev *pci)
{
	struct amp_pci *amp = pci_get_drvdata(pci);
	int error;

	pci_set_master(pci);
	amp->head = read_index(amp, DRIVER_QUEUE);
	amp->tail = read_index(amp, DRIVER_QUEUE + TAIL);
	amp->received = read_index(amp, DEVICE_QUEUE);
	writel(amp->received, amp->fifo + DEVICE_QUEUE + TAIL);
	enable_irq(amp->irq);
	error = amp_bus_start(&amp->bus);
	if (error)
		disable_irq(amp->irq);
	return error;
}

static void stop(struct pci_dev *pci)
{
	struct amp_pci *amp = pci_get_drvdata(pci);

	amp_bus_stop(&amp->bus);
	disable_irq(amp->irq);
	pci_clear_master(pci);
}

static int amp_probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct amp_pci *amp = devm_kzalloc(&pci->dev, sizeof(*amp), GFP_KERNEL);
	int error;

	if (!amp)
		return -ENOMEM;
	error = pcim_enable_device(pci) ?: pci_request_regions(pci, "amp_pci") ?:
		dma_set_mask_and_coherent(&pci->dev, DMA_BIT_MASK(64));
	if (error)
		return error;
	amp->bus.parent = &pci->dev;
	amp->bus.send = amp_send;
	spin_lock_init(&amp->send_lock);
	amp->registers = pcim_iomap(pci, REGISTER_BAR, 0);
	amp->fifo = devm_ioremap_wc(&pci->dev, pci_resource_start(pci, FIFO_BAR),
				    pci_resource_len(pci, FIFO_BAR));
	if (!amp->registers || !amp->fifo)
		return -ENOMEM;
	/* Without MSI-X nothing is received: the endpoint has no INTx. */
	error = pci_alloc_irq_vectors(pci, 1, 1, PCI_IRQ_MSIX);
	if (error < 0)
		return error;
	amp->irq = pci_irq_vector(pci, 0);
	error = request_irq(amp->irq, amp_interrupt, IRQF_NO_AUTOEN, "amp_pci", amp);
	if (error)
		goto free_vectors;
	pci_set_drvdata(pci, amp);
	error = start(pci);
	if (!error)
		return 0;
	free_irq(amp->irq, amp);
free_vectors:
	pci_free_irq_vectors(pci);
	return error;
}

static void amp_remove(struct pci_dev *pci)
{
	struct amp_pci *amp = pci_get_drvdata(pci);

	stop(pci);
	free_irq(amp->irq, amp);
	pci_free_irq_vectors(pci);
}

/* Around a function-level reset: the devices are removed, and found again. */
static void reset_prepare(struct pci_dev *pci)
{
	stop(pci);
}

static void reset_done(struct pci_dev *pci)
{
	int error = start(pci);

	if (error)
		dev_err(&pci->dev, "no devices after the reset: %d\n", error);
}

static const struct pci_error_handlers error_handlers = {
	.reset_prepare = reset_prepare,
	.reset_done = reset_done,
};

static const struct pci_device_id ids[] = {
	{ PCI_DEVICE(0x10ee, 0x9039) },
	{ }
};
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver amp_driver = {
	.name = "amp_pci",
	.id_table = ids,
	.probe = amp_probe,
	.remove = amp_remove,
	.shutdown = amp_remove,
	.err_handler = &error_handlers,
};
module_pci_driver(amp_driver);

MODULE_DESCRIPTION("Minimal bus driver of the virtio-msg AMP PCI endpoint, for tests");
MODULE_LICENSE("Dual BSD/GPL");
