/*
 * A server made of the C library as it is, for comparison: node ID HOST:PORT DIRECTORY [threshold=N] [trailing=N] [latency=MS] [domain=N]
 *
 * Options are those of dqlite_node_set_snapshot_params (entries), dqlite_node_set_network_latency_ms and
 * dqlite_node_set_failure_domain. Prints "ready" when it serves. SIGTERM stops it in order, exit code 0.
 * node --version prints the version of the library.
 */
#include <arpa/inet.h>
#include <dqlite.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Dials another server without Nagle's delay, which the library leaves on. */
static int dial(void *unused, const char *address, int *descriptor)
{
	(void)unused;
	char host[64] = "";
	int port = 0, on = 1;
	struct sockaddr_in to = {.sin_family = AF_INET};
	if (sscanf(address, "%63[^:]:%d", host, &port) != 2) return 1;
	if (inet_pton(AF_INET, host, &to.sin_addr) != 1) return 1;
	to.sin_port = htons((unsigned short)port);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (s < 0) return 1;
	if (connect(s, (struct sockaddr *)&to, sizeof to) != 0) {
		close(s);
		return 1;
	}
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	*descriptor = s;
	return 0;
}

static int failed(const char *step, int code, dqlite_node *node)
{
	fprintf(stderr, "%s: %d %s\n", step, code, node ? dqlite_node_errmsg(node) : "");
	return 1;
}

int main(int argc, char **argv)
{
	unsigned threshold = 0, trailing = 0, latency = 0, domain = 0;
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		int version = dqlite_version_number();
		printf("%d.%d.%d\n", version / 10000, version / 100 % 100, version % 100);
		return 0;
	}
	if (argc < 4) return 2;
	for (int i = 4; i < argc; i++) {
		if (sscanf(argv[i], "threshold=%u", &threshold) == 1) continue;
		if (sscanf(argv[i], "trailing=%u", &trailing) == 1) continue;
		if (sscanf(argv[i], "latency=%u", &latency) == 1) continue;
		if (sscanf(argv[i], "domain=%u", &domain) == 1) continue;
		return 2;
	}
	sigset_t stop;
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	/* Blocked before the library starts its threads, which inherit the mask. */
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);

	dqlite_node *node = NULL;
	int code = dqlite_node_create(strtoull(argv[1], NULL, 10), argv[2], argv[3], &node);
	if (code) return failed("create", code, node);
	if ((code = dqlite_node_set_connect_func(node, dial, NULL))) return failed("connect function", code, node);
	if ((code = dqlite_node_set_bind_address(node, argv[2]))) return failed("bind", code, node);
	if (latency && (code = dqlite_node_set_network_latency_ms(node, latency))) return failed("latency", code, node);
	if (domain && (code = dqlite_node_set_failure_domain(node, domain))) return failed("failure domain", code, node);
	if (threshold && (code = dqlite_node_set_snapshot_params(node, threshold, trailing)))
		return failed("snapshot parameters", code, node);
	if ((code = dqlite_node_start(node))) return failed("start", code, node);
	puts("ready");
	fflush(stdout);

	int signal_number;
	sigwait(&stop, &signal_number);
	if ((code = dqlite_node_stop(node))) return failed("stop", code, node);
	dqlite_node_destroy(node);
	return 0;
}
