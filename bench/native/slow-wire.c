/*
 * A wire that holds each packet for a while: slow-wire MICROSECONDS NAMESPACE ADDRESS [NAMESPACE ADDRESS...]
 *
 * Makes a TUN device "wire" in each network namespace (of `ip netns`) and carries packets to the namespace of the IPv4 address
 * they are meant for, so much later, in order. Prints "ready" when the devices are there.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { most_ends = 8, largest_packet = 65536, slots = 1 << 14 };

struct packet {
	int64_t due;
	int to;
	size_t size;
	char *bytes;
};

static struct packet ring[slots];
static unsigned head, tail;
static struct pollfd ends[most_ends];
static in_addr_t addresses[most_ends];
static int count;

static int64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int open_end(const char *namespace)
{
	char path[256];
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	snprintf(path, sizeof path, "/run/netns/%s", namespace);
	int space = open(path, O_RDONLY | O_CLOEXEC);
	if (space < 0 || setns(space, CLONE_NEWNET) < 0) return perror(path), -1;
	close(space);
	int end = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	strcpy(request.ifr_name, "wire");
	if (end < 0 || ioctl(end, TUNSETIFF, &request) < 0) return perror("tun"), -1;
	return end;
}

static int end_of(const char *bytes, size_t size)
{
	in_addr_t to;
	if (size < 20 || (bytes[0] & 0xf0) != 0x40) return -1;
	memcpy(&to, bytes + 16, sizeof to);
	for (int i = 0; i < count; i++) {
		if (addresses[i] == to) return i;
	}
	return -1;
}

/* A full ring drops what comes, as a real wire does. */
static void take(int from, int64_t delay)
{
	static char bytes[largest_packet];
	for (;;) {
		ssize_t size = read(ends[from].fd, bytes, sizeof bytes);
		if (size <= 0) return;
		int to = end_of(bytes, (size_t)size);
		if (to < 0 || head - tail == slots) continue;
		struct packet *packet = &ring[head % slots];
		if (!(packet->bytes = malloc((size_t)size))) continue;
		memcpy(packet->bytes, bytes, (size_t)size);
		packet->size = (size_t)size;
		packet->to = to;
		packet->due = now() + delay;
		head++;
	}
}

static void deliver(void)
{
	for (; tail != head && ring[tail % slots].due <= now(); tail++) {
		struct packet *packet = &ring[tail % slots];
		/* A device that is down drops it. */
		if (write(ends[packet->to].fd, packet->bytes, packet->size) < 0) { }
		free(packet->bytes);
	}
}

int main(int argc, char **argv)
{
	if (argc < 4 || argc > 2 + 2 * most_ends) return 2;
	int64_t delay = atoll(argv[1]) * 1000;
	for (int i = 2; i + 1 < argc; i += 2, count++) {
		int end = open_end(argv[i]);
		if (end < 0 || inet_pton(AF_INET, argv[i + 1], &addresses[count]) != 1) return 1;
		ends[count] = (struct pollfd){.fd = end, .events = POLLIN};
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Wakes when it is asked to, not up to 50 us later. */
	prctl(PR_SET_TIMERSLACK, 1);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int64_t wait = tail == head ? -1 : ring[tail % slots].due - now();
		struct timespec timeout = {.tv_nsec = wait < 0 ? 0 : wait % 1000000000, .tv_sec = wait < 0 ? 0 : wait / 1000000000};
		ppoll(ends, (nfds_t)count, tail == head ? NULL : &timeout, NULL);
		for (int i = 0; i < count; i++) {
			if (ends[i].revents & POLLIN) take(i, delay);
		}
		deliver();
	}
}
