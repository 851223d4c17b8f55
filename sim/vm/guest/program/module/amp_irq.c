// SPDX-License-Identifier: BSD-2-Clause
/*
 * Counts the endpoint's MSI-X interrupts, so that a user space driver can wait for them. A read of
 * /dev/amp_irq returns the count of each vector, and blocks until one differs from the file's last
 * read. The BARs are not claimed: user space cannot mmap claimed BARs.
 */
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "facts.h"

static atomic64_t counts[AMP_MAX_VECTORS];
static int vectors;
static DECLARE_WAIT_QUEUE_HEAD(changed);

static irqreturn_t count_interrupt(int irq, void *count)
{
	atomic64_inc(count);
	wake_up_interruptible(&changed);
	return IRQ_HANDLED;
}

static bool has_changed(struct file *file)
{
	u64 *last_read = file->private_data;
	int i;

	for (i = 0; i < vectors; i++)
		if (atomic64_read(&counts[i]) != last_read[i])
			return true;
	return false;
}

static int counts_open(struct inode *inode, struct file *file)
{
	file->private_data = kcalloc(AMP_MAX_VECTORS, sizeof(u64), GFP_KERNEL);
	return file->private_data ? nonseekable_open(inode, file) : -ENOMEM;
}

static int counts_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t counts_read(struct file *file, char __user *to, size_t size, loff_t *offset)
{
	u64 *last_read = file->private_data;
	int i;

	if (size < vectors * sizeof(*last_read))
		return -EINVAL;
	if (!has_changed(file) && file->f_flags & O_NONBLOCK)
		return -EAGAIN;
	if (wait_event_interruptible(changed, has_changed(file)))
		return -ERESTARTSYS;
	for (i = 0; i < vectors; i++)
		last_read[i] = atomic64_read(&counts[i]);
	if (copy_to_user(to, last_read, vectors * sizeof(*last_read)))
		return -EFAULT;
	return vectors * sizeof(*last_read);
}

static __poll_t counts_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &changed, table);
	return has_changed(file) ? EPOLLIN | EPOLLRDNORM : 0;
}

static const struct file_operations counts_operations = {
	.owner = THIS_MODULE,
	.open = counts_open,
	.release = counts_release,
	.read = counts_read,
	.poll = counts_poll,
};

static struct miscdevice counts_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "amp_irq",
	.fops = &counts_operations,
};

static void release_interrupts(struct pci_dev *pci, int requested)
{
	while (requested--)
		free_irq(pci_irq_vector(pci, requested), &counts[requested]);
	pci_free_irq_vectors(pci);
	pci_clear_master(pci);
	pci_disable_device(pci);
}

static int amp_probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	int requested = 0;
	int error = pci_enable_device(pci);

	if (error)
		return error;
	pci_set_master(pci);
	vectors = pci_alloc_irq_vectors(pci, 1, AMP_MAX_VECTORS, PCI_IRQ_MSIX);
	error = min(vectors, 0);
	while (!error && requested < vectors) {
		error = request_irq(pci_irq_vector(pci, requested), count_interrupt, 0, "amp_irq",
				    &counts[requested]);
		requested += !error;
	}
	if (!error)
		error = misc_register(&counts_device);
	if (error)
		release_interrupts(pci, requested);
	return error;
}

static void amp_remove(struct pci_dev *pci)
{
	misc_deregister(&counts_device);
	release_interrupts(pci, vectors);
}

static const struct pci_device_id amp_ids[] = {
	{ PCI_DEVICE(AMP_VENDOR_ID, AMP_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, amp_ids);

static struct pci_driver amp_driver = {
	.name = "amp_irq",
	.id_table = amp_ids,
	.probe = amp_probe,
	.remove = amp_remove,
};
module_pci_driver(amp_driver);

MODULE_DESCRIPTION("Counts the interrupts of the virtio-msg AMP PCI endpoint");
MODULE_LICENSE("Dual BSD/GPL");
