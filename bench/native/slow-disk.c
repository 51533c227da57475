/*
 * A disk whose flush takes longer: slow-disk MOUNTPOINT FILE MICROSECONDS
 *
 * Mounts a file system (FUSE, no library) of one file, "disk", whose bytes are those of FILE. Reads and writes pass; what makes
 * writes durable waits first. With a loop device on it, every flush that any file system on that device asks for takes so much
 * longer, whoever causes it and by whichever system call. Prints "ready"; ends when it is unmounted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { root_node = FUSE_ROOT_ID, disk_node = 2, largest_write = 1 << 20 };

static int kernel, disk;
static struct timespec delay;

static void answer(uint64_t unique, int error, const void *data, size_t size)
{
	struct fuse_out_header head = {.len = (uint32_t)(sizeof head + size), .error = -error, .unique = unique};
	struct iovec parts[] = {{&head, sizeof head}, {(void *)data, size}};
	/* ENOENT: whoever asked does not wait any more. */
	if (writev(kernel, parts, size > 0 ? 2 : 1) < 0 && errno != ENOENT) perror("slow-disk: answer");
}

static struct fuse_attr attributes(uint64_t node)
{
	struct stat status;
	struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = 4096};
	if (node == root_node) {
		attr.mode = S_IFDIR | 0700;
	} else {
		fstat(disk, &status);
		attr.mode = S_IFREG | 0600;
		attr.size = (uint64_t)status.st_size;
		attr.blocks = attr.size / 512;
	}
	return attr;
}

static void begin(const struct fuse_in_header *head, const struct fuse_init_in *in)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = in->max_readahead,
		.flags = in->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES),
		.max_background = 64,
		.congestion_threshold = 48,
		.max_write = largest_write,
		.max_pages = largest_write / 4096,
		.time_gran = 1,
	};
	answer(head->unique, 0, &out, sizeof out);
}

static void find(const struct fuse_in_header *head, const char *name)
{
	struct fuse_entry_out out = {.nodeid = disk_node, .attr = attributes(disk_node), .entry_valid = 1u << 30, .attr_valid = 1u << 30};
	if (strcmp(name, "disk") != 0) return answer(head->unique, ENOENT, NULL, 0);
	answer(head->unique, 0, &out, sizeof out);
}

static void open_node(const struct fuse_in_header *head)
{
	/* Nothing stays in the page cache of this file system. */
	struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO};
	answer(head->unique, 0, &out, sizeof out);
}

static void read_disk(const struct fuse_in_header *head, const struct fuse_read_in *in, char *buffer)
{
	ssize_t got = pread(disk, buffer, in->size, (off_t)in->offset);
	answer(head->unique, got < 0 ? errno : 0, buffer, got < 0 ? 0 : (size_t)got);
}

static void write_disk(const struct fuse_in_header *head, const struct fuse_write_in *in)
{
	struct fuse_write_out out = {0};
	ssize_t put = pwrite(disk, in + 1, in->size, (off_t)in->offset);
	if (put < 0) return answer(head->unique, errno, NULL, 0);
	out.size = (uint32_t)put;
	answer(head->unique, 0, &out, sizeof out);
}

static void sync_disk(const struct fuse_in_header *head)
{
	nanosleep(&delay, NULL);
	answer(head->unique, fdatasync(disk) < 0 ? errno : 0, NULL, 0);
}

static void serve(const struct fuse_in_header *head, const void *in, char *buffer)
{
	struct fuse_attr_out attr = {.attr_valid = 1u << 30};
	switch (head->opcode) {
	case FUSE_INIT: return begin(head, in);
	case FUSE_LOOKUP: return find(head, in);
	case FUSE_GETATTR:
	case FUSE_SETATTR: attr.attr = attributes(head->nodeid); return answer(head->unique, 0, &attr, sizeof attr);
	case FUSE_OPEN:
	case FUSE_OPENDIR: return open_node(head);
	case FUSE_READ: return read_disk(head, in, buffer);
	case FUSE_WRITE: return write_disk(head, in);
	case FUSE_FSYNC: return sync_disk(head);
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR: return answer(head->unique, 0, NULL, 0);
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT: return;
	default: return answer(head->unique, ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	char options[128];
	size_t size = largest_write + 65536;
	char *request = malloc(size), *buffer = malloc(size);
	if (argc != 4 || !request || !buffer) return 2;
	long microseconds = atol(argv[3]);
	delay = (struct timespec){microseconds / 1000000, microseconds % 1000000 * 1000};
	if ((disk = open(argv[2], O_RDWR)) < 0) return perror(argv[2]), 1;
	if ((kernel = open("/dev/fuse", O_RDWR)) < 0) return perror("/dev/fuse"), 1;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u", kernel, getuid(), getgid());
	if (mount("slow-disk", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) return perror("mount"), 1;
	puts("ready");
	fflush(stdout);
	for (;;) {
		ssize_t got = read(kernel, request, size);
		if (got < 0 && errno == ENODEV) return 0;
		if (got < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN)) continue;
		if (got < 0) return perror("slow-disk: read"), 1;
		serve((struct fuse_in_header *)request, request + sizeof(struct fuse_in_header), buffer);
	}
}
