/* What every part needs: the options, a connection, time, and a histogram of latencies. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 1 << 18,         /* how much one turn reads from one connection at most */
    WRITE_BYTES = 1 << 16,        /* a publisher with this much unsent gets no more */
    CONNECTING_AT_ONCE = 64,      /* TCP and TLS handshakes in progress, unless --at-once says */
    CONNECT_SECONDS = 120,        /* until everyone must be connected and subscribed; and until a storm must be over */
    MARK_BYTES = 16,              /* what a payload carries: publisher, sequence number, time */
    LATENCY_STEPS = 64,           /* buckets per power of two in the histogram: 1.6 % wide */
    LATENCY_BUCKETS = 40 * LATENCY_STEPS,
    KEEP_ALIVE_SECONDS = 3600,    /* nobody pings: nothing here lasts that long */
    SESSION_SECONDS = 3600,       /* how long version 5 asks for a persistent session to be kept */
};
static const double SATURATED_SHARE = 0.9; /* of one core: above it, the generator is the bottleneck */
static const double RESUMED_SHARE = 0.99;  /* fewer of the handshakes of --resume is a failure */
static const uint64_t SECOND = 1000000000;

enum stage { CLOSED, TCP_CONNECT, TLS_HANDSHAKE, AWAIT_CONNACK, AWAIT_SUBACK, READY };

enum role { SUBSCRIBER, PUBLISHER, CROWD }; /* the crowd: the clients of handshakes, idle and storms */

enum task { FLOW, HANDSHAKES, IDLE, STORM_SUBSCRIBE, STORM_RECONNECT };
static const char *const TASKS[] = {"flow", "handshakes", "idle", "storm-subscribe", "storm-reconnect"};

static struct {
    const char *host, *port, *server_name, *cafile, *cert, *key, *user, *password, *password_file, *client_id, *topic,
        *filter, *storm_filter;
    enum task task;
    int subscribers, publishers, count, clients, at_once, qos, tls, protocol;
    uint32_t payload, in_flight, refill, filters;
    uint64_t messages, warm_up, window;
    double seconds, rate, at_most, storm_rate, stall_seconds, retry_seconds;
    bool steps, persistent, resume, reset;
} option = {
    .host = "127.0.0.1", .port = "1883", .client_id = "load-%i", .topic = "bench/load",
    .storm_filter = "bench/storm/%i/%k", .subscribers = 1, .publishers = 1, .protocol = 4, .payload = 64,
    .in_flight = 20, .refill = 1, .filters = 1, .warm_up = 1000, .stall_seconds = 3, .retry_seconds = 1, .reset = true,
};

/* What a client shows in its TLS handshake, read from its files once. */
struct identity {
    X509 *certificate;
    STACK_OF(X509) *chain;
    EVP_PKEY *key;
};

/* One MQTT connection. */
struct connection {
    int fd, poller, index, number; /* index: among all; number: among those of its role */
    enum role role;
    enum stage stage;
    SSL *ssl;                      /* NULL without TLS */
    SSL_SESSION *ticket;           /* for the next connection of this client, with --resume */
    struct identity *identity;     /* NULL where all clients share one certificate */
    bool awaits_write, broken, resumed;
    uint8_t *out, *rest, *frame;   /* to be written; the start of a packet whose end is yet to come; a PUBLISH */
    size_t out_from, out_to, out_size, rest_used, rest_size, frame_size, id_at, mark_at;
    uint64_t sent, acked;          /* a publisher's */
    uint64_t delivered, missing;   /* a subscriber's: received once; skipped, as a higher sequence number told */
    uint64_t began, retry_at;      /* when its connection was due; when the next attempt is */
    uint32_t subscribed;           /* how many filters of the storm it has */
    uint16_t packet_id;
    char *name;                    /* the topic or the filter */
};

/* What a payload starts with; it tells losses and latency. */
struct mark {
    uint32_t publisher, sequence;
    uint64_t nanoseconds;
};

struct histogram {
    uint64_t buckets[LATENCY_BUCKETS], count, most;
};

static struct connection *connections, *subscribers, *publishers, *crowd;
static int poller, crowd_poller, timer = -1, total, ready;
static struct totals {
    uint64_t sent, acked, delivered, duplicates, missing, released;
} sum;
static const char *tls_version = "", *tls_cipher = "";

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static double seconds_since(uint64_t begin) { return (double)(now() - begin) * 1e-9; }

static double own_cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void *grown(void *memory, size_t size) {
    void *larger = realloc(memory, size);
    if (!larger) die("out of memory");
    return larger;
}

static void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) die("out of memory");
    return memory;
}

/* Write `pattern` with %i replaced by `number`, %c by the connection's `index` and %k by `filter`. */
static void expand(char *text, size_t size, const char *pattern, int number, int index, uint32_t filter) {
    size_t used = 0;
    for (; *pattern && used + 12 < size; pattern++) {
        char kind = pattern[0] == '%' ? pattern[1] : 0;
        if (kind == 'i' || kind == 'c' || kind == 'k') {
            long value = kind == 'i' ? number : kind == 'c' ? index : (long)filter;
            used += (size_t)snprintf(text + used, size - used, "%ld", value);
            pattern++;
        } else {
            text[used++] = *pattern;
        }
    }
    if (*pattern) die("too long: %s", pattern);
    text[used] = 0;
}

static bool varies(const char *pattern) { return strstr(pattern, "%i") || strstr(pattern, "%c"); }

static void wait_for_line(void) {
    for (int c = getchar(); c != '\n' && c != EOF; c = getchar()) continue;
}

/* Say how far we are, and with `wait`, let the one who asked for --steps look at the broker before we go on. */
static void say(const char *line, bool wait) {
    puts(line);
    fflush(stdout);
    if (wait) wait_for_line();
}

/* --- latencies ---------------------------------------------------------------------------------------------- */

static void note(struct histogram *h, uint64_t nanoseconds) {
    uint64_t value = nanoseconds < LATENCY_STEPS ? LATENCY_STEPS : nanoseconds;
    unsigned shift = 57 - (unsigned)__builtin_clzll(value); /* leaves 64 to 127 */
    size_t bucket = (size_t)shift * LATENCY_STEPS + (value >> shift) - LATENCY_STEPS;
    h->buckets[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1]++;
    h->count++;
    if (nanoseconds > h->most) h->most = nanoseconds;
}

static double microseconds(const struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)((double)h->count * share), seen = 0;
    for (size_t bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        seen += h->buckets[bucket];
        if (seen > wanted) {
            return (double)((bucket % LATENCY_STEPS + LATENCY_STEPS) << (bucket / LATENCY_STEPS)) * 1e-3;
        }
    }
    return (double)h->most * 1e-3;
}

static void print_histogram(const char *name, const struct histogram *h) {
    printf(", \"%s\": {\"p50\": %.1f, \"p90\": %.1f, ", name, microseconds(h, 0.5), microseconds(h, 0.9));
    printf("\"p99\": %.1f, \"p999\": %.1f, ", microseconds(h, 0.99), microseconds(h, 0.999));
    printf("\"max\": %.1f, \"count\": %" PRIu64 "}", (double)h->most * 1e-3, h->count);
}
