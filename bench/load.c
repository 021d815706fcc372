/*
 * The bench's load generator: MQTT 3.1.1 subscribers and publishers in one thread, on epoll, with OpenSSL for TLS.
 *
 * It connects everyone, subscribes, warms up, publishes for a time or a number of messages, waits until everything
 * has arrived and prints one line of JSON. Deliveries give back the right to publish (--window), so that a broker
 * which drops what it cannot queue is never overrun; what is lost all the same is counted, message by message.
 * It measures its own CPU as well, and says when it was the bottleneck itself.
 *
 * With --steps it prints "warm" after the warm-up and waits for a line on standard input, and waits for another
 * after the result, before it disconnects: in between, someone else can read the broker's CPU.
 *
 * Build: gcc -O2 -Wall -Wextra -o load load.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
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
    CONNECTING_AT_ONCE = 64,      /* TCP and TLS handshakes in progress */
    CONNECT_SECONDS = 60,         /* until everyone must be connected and subscribed */
    MARK_BYTES = 16,              /* what a payload carries: publisher, sequence number, time */
    LATENCY_STEPS = 64,           /* buckets per power of two in the histogram: 1.6 % wide */
    LATENCY_BUCKETS = 40 * LATENCY_STEPS,
};
static const double SATURATED_SHARE = 0.9; /* of one core: above it, the generator is the bottleneck */
static const uint64_t SECOND = 1000000000;

enum packet { CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBACK = 9 };

enum stage { TCP_CONNECT, TLS_HANDSHAKE, AWAIT_CONNACK, AWAIT_SUBACK, READY };

static struct {
    const char *host, *port, *server_name, *cafile, *cert, *key, *user, *password, *client_id, *topic, *filter;
    int subscribers, publishers, qos, tls;
    uint32_t payload, in_flight;
    uint64_t messages, warm_up, window;
    double seconds, rate, stall_seconds;
    bool steps;
} option = {
    .host = "127.0.0.1", .port = "1883", .client_id = "load-%i", .topic = "bench/load",
    .subscribers = 1, .publishers = 1, .payload = 64, .in_flight = 20,
    .warm_up = 1000, .window = 2000, .stall_seconds = 3,
};

/* One MQTT connection. */
struct connection {
    int fd, index, number;        /* index: among all; number: among the subscribers, or among the publishers */
    SSL *ssl;                     /* NULL without TLS */
    enum stage stage;
    bool publishes, awaits_write;
    uint8_t *out, *rest, *frame;  /* to be written; the start of a packet whose end is yet to come; a PUBLISH */
    size_t out_from, out_to, out_size, rest_used, rest_size, frame_size, id_at, mark_at;
    uint64_t sent, acked;         /* a publisher's */
    uint64_t delivered, missing;  /* a subscriber's: received once; skipped, as a higher sequence number told */
    uint16_t packet_id;
    char name[256];               /* the topic or the filter */
};

/* What a payload starts with; it tells losses and latency. */
struct mark {
    uint32_t publisher, sequence;
    uint64_t nanoseconds;
};

static struct connection *connections, *subscribers, *publishers;
static uint32_t *next_sequence;   /* per subscriber and publisher that it hears */
static bool pairs;                /* subscriber i hears publisher i alone; otherwise each hears all */
static int poller, timer = -1, total, started, ready;
static struct totals {
    uint64_t sent, acked, delivered, duplicates, missing;
} sum;
static uint64_t latency[LATENCY_BUCKETS], latency_count, latency_most;
static SSL_CTX *tls;
static uint8_t scratch[READ_BYTES];

/* --- small things ------------------------------------------------------------------------------------------- */

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

/* Write `pattern` with each %i replaced by `number`. */
static void expand(char *text, size_t size, const char *pattern, int number) {
    size_t used = 0;
    for (; *pattern && used + 12 < size; pattern++) {
        if (pattern[0] == '%' && pattern[1] == 'i') {
            used += (size_t)snprintf(text + used, size - used, "%d", number);
            pattern++;
        } else {
            text[used++] = *pattern;
        }
    }
    text[used] = 0;
}

static bool varies(const char *pattern) { return strstr(pattern, "%i") != NULL; }

/* --- bytes out ---------------------------------------------------------------------------------------------- */

static void watch(struct connection *c, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = c};
    if (c->awaits_write == write) return;
    c->awaits_write = write;
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static uint8_t *room(struct connection *c, size_t size) {
    if (c->out_to + size > c->out_size) {
        c->out_size = 2 * (c->out_to + size);
        c->out = grown(c->out, c->out_size);
    }
    c->out_to += size;
    return c->out + c->out_to - size;
}

/* Returns how much was written; 0 when the socket takes no more. */
static size_t write_some(struct connection *c, const uint8_t *data, size_t size) {
    if (c->ssl) {
        int written = SSL_write(c->ssl, data, size > INT32_MAX ? INT32_MAX : (int)size);
        if (written > 0) return (size_t)written;
        int error = SSL_get_error(c->ssl, written);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) die("TLS write failed (%d)", error);
        return 0;
    }
    ssize_t written = send(c->fd, data, size, MSG_NOSIGNAL);
    if (written >= 0) return (size_t)written;
    if (errno != EAGAIN) die("write: %s", strerror(errno));
    return 0;
}

static void flush(struct connection *c) {
    while (c->out_from < c->out_to) {
        size_t written = write_some(c, c->out + c->out_from, c->out_to - c->out_from);
        if (!written) break;
        c->out_from += written;
    }
    if (c->out_from == c->out_to) c->out_from = c->out_to = 0;
    watch(c, c->out_to > 0);
}

/* --- packets out (MQTT 3.1.1, chapter 3) -------------------------------------------------------------------- */

static uint8_t *put_length(uint8_t *at, size_t length) {
    do {
        *at++ = (uint8_t)((length & 127) | (length > 127 ? 128 : 0));
        length >>= 7;
    } while (length);
    return at;
}

static uint8_t *put_number(uint8_t *at, size_t number) {
    at[0] = (uint8_t)(number >> 8);
    at[1] = (uint8_t)number;
    return at + 2;
}

static uint8_t *put_text(uint8_t *at, const char *text) {
    size_t length = strlen(text);
    memcpy(put_number(at, length), text, length);
    return at + 2 + length;
}

static void send_body(struct connection *c, uint8_t first, const uint8_t *body, size_t size) {
    uint8_t header[5] = {first};
    size_t header_size = (size_t)(put_length(header + 1, size) - header);
    uint8_t *at = room(c, header_size + size);
    memcpy(at, header, header_size);
    memcpy(at + header_size, body, size);
    flush(c);
}

static void send_connect(struct connection *c) {
    char id[256], user[256], password[4096];
    uint8_t body[8192], *at = body;
    expand(id, sizeof id, option.client_id, c->index);
    at = put_text(at, "MQTT");
    *at++ = 4;
    *at++ = (uint8_t)(2 | (option.user ? 128 : 0) | (option.password ? 64 : 0)); /* clean session */
    at = put_number(at, 600);
    at = put_text(at, id);
    if (option.user) {
        expand(user, sizeof user, option.user, c->index);
        at = put_text(at, user);
    }
    if (option.password) {
        expand(password, sizeof password, option.password, c->index);
        at = put_text(at, password);
    }
    send_body(c, 0x10, body, (size_t)(at - body));
    c->stage = AWAIT_CONNACK;
}

static void send_subscribe(struct connection *c) {
    uint8_t body[300], *at = put_number(body, 1);
    at = put_text(at, c->name);
    *at++ = (uint8_t)option.qos;
    send_body(c, 0x82, body, (size_t)(at - body));
    c->stage = AWAIT_SUBACK;
}

/* A PUBLISH is made once per publisher; each message patches its packet identifier and its mark. */
static void make_frame(struct connection *c) {
    size_t length = 2 + strlen(c->name) + (option.qos ? 2 : 0) + option.payload;
    c->frame = grown(NULL, length + 5);
    c->frame[0] = (uint8_t)(0x30 | option.qos << 1);
    uint8_t *at = put_text(put_length(c->frame + 1, length), c->name);
    c->id_at = (size_t)(at - c->frame);
    c->mark_at = c->id_at + (option.qos ? 2 : 0);
    c->frame_size = c->mark_at + option.payload;
    memset(c->frame + c->mark_at, 'x', option.payload);
}

static void publish(struct connection *c, uint64_t nanoseconds) {
    struct mark mark = {(uint32_t)c->number, (uint32_t)c->sent, nanoseconds};
    uint8_t *at = room(c, c->frame_size);
    memcpy(at, c->frame, c->frame_size);
    if (option.qos) {
        if (!++c->packet_id) c->packet_id = 1;
        put_number(at + c->id_at, c->packet_id);
    }
    memcpy(at + c->mark_at, &mark, MARK_BYTES);
    c->sent++;
    sum.sent++;
}

/* --- packets in --------------------------------------------------------------------------------------------- */

static void note_latency(uint64_t nanoseconds) {
    uint64_t value = nanoseconds < LATENCY_STEPS ? LATENCY_STEPS : nanoseconds;
    unsigned shift = 57 - (unsigned)__builtin_clzll(value); /* leaves 64 to 127 */
    size_t bucket = (size_t)shift * LATENCY_STEPS + (value >> shift) - LATENCY_STEPS;
    latency[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1]++;
    latency_count++;
    if (nanoseconds > latency_most) latency_most = nanoseconds;
}

static double latency_microseconds(double share) {
    uint64_t wanted = (uint64_t)((double)latency_count * share), seen = 0;
    for (size_t bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        seen += latency[bucket];
        if (seen > wanted) {
            return (double)((bucket % LATENCY_STEPS + LATENCY_STEPS) << (bucket / LATENCY_STEPS)) * 1e-3;
        }
    }
    return (double)latency_most * 1e-3;
}

static void on_publish(struct connection *c, uint8_t first, const uint8_t *body, size_t size, uint64_t arrived) {
    int qos = first >> 1 & 3;
    struct mark mark;
    size_t topic = size >= 2 ? (size_t)body[0] << 8 | body[1] : 0, at = 2 + topic + (qos ? 2 : 0);
    if (size != at + option.payload || qos != option.qos) die("an alien PUBLISH: QoS %d, %zu bytes", qos, size);
    if (qos) {
        uint8_t *ack = room(c, 4);
        ack[0] = 0x40;
        ack[1] = 2;
        memcpy(ack + 2, body + at - 2, 2);
    }
    memcpy(&mark, body + at, MARK_BYTES);
    if (mark.publisher >= (uint32_t)option.publishers || (pairs && mark.publisher != (uint32_t)c->number)) {
        die("a PUBLISH from a publisher that does not exist");
    }
    uint32_t *next = &next_sequence[pairs ? c->number : c->number * option.publishers + (int)mark.publisher];
    uint32_t ahead = mark.sequence - *next;
    if (ahead > UINT32_MAX / 2) {
        sum.duplicates++; /* or out of order, which MQTT forbids: the gap was counted as missing */
        return;
    }
    *next = mark.sequence + 1;
    c->missing += ahead;
    sum.missing += ahead;
    c->delivered++;
    sum.delivered++;
    if (mark.nanoseconds) note_latency(arrived - mark.nanoseconds);
}

static void on_connack(struct connection *c, const uint8_t *body, size_t size) {
    if (c->stage != AWAIT_CONNACK || size != 2) die("an unexpected CONNACK");
    if (body[1]) die("connection %d was refused with CONNACK code %d", c->index, body[1]);
    if (!c->publishes) {
        send_subscribe(c);
        return;
    }
    c->stage = READY;
    ready++;
}

static void on_suback(struct connection *c, const uint8_t *body, size_t size) {
    if (c->stage != AWAIT_SUBACK || size != 3) die("an unexpected SUBACK");
    if (body[2] != option.qos) die("subscription to %s was refused with SUBACK code %d", c->name, body[2]);
    c->stage = READY;
    ready++;
}

static void on_packet(struct connection *c, uint8_t first, const uint8_t *body, size_t size, uint64_t arrived) {
    switch (first >> 4) {
    case PUBLISH: on_publish(c, first, body, size, arrived); return;
    case PUBACK: c->acked++; sum.acked++; return;
    case CONNACK: on_connack(c, body, size); return;
    case SUBACK: on_suback(c, body, size); return;
    default: die("an unexpected packet of type %d", first >> 4);
    }
}

/* Returns how many bytes were whole packets. */
static size_t parse(struct connection *c, const uint8_t *data, size_t size, uint64_t arrived) {
    size_t from = 0;
    while (size - from >= 2) {
        size_t at = from + 1, length = 0;
        unsigned shift = 0;
        do {
            if (at == size) return from;
            if (shift > 21) die("a malformed remaining length");
            length |= (size_t)(data[at] & 127) << shift;
            shift += 7;
        } while (data[at++] & 128);
        if (size - at < length) return from;
        on_packet(c, data[from], data + at, length, arrived);
        from = at + length;
    }
    return from;
}

/* --- bytes in ----------------------------------------------------------------------------------------------- */

/* Returns how much was read; 0 when there is nothing. */
static size_t read_some(struct connection *c, uint8_t *data, size_t size) {
    if (c->ssl) {
        int got = SSL_read(c->ssl, data, (int)size);
        if (got > 0) return (size_t)got;
        int error = SSL_get_error(c->ssl, got);
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
        die("the broker closed connection %d (TLS error %d)", c->index, error);
    }
    ssize_t got = recv(c->fd, data, size, 0);
    if (got > 0) return (size_t)got;
    if (got < 0 && errno == EAGAIN) return 0;
    die("the broker closed connection %d: %s", c->index, got ? strerror(errno) : "end of file");
}

static void on_readable(struct connection *c) {
    bool more = true;
    while (more) {
        size_t used = c->rest_used, got;
        if (used) memcpy(scratch, c->rest, used);
        do {
            got = read_some(c, scratch + used, READ_BYTES - used);
            used += got;
            /* A short read emptied the socket, and epoll tells of more: no read that only finds nothing. */
            more = got > 0 && (used == READ_BYTES || (c->ssl && SSL_has_pending(c->ssl)));
        } while (more && used < READ_BYTES);
        size_t parsed = parse(c, scratch, used, option.rate > 0 ? now() : 0);
        if (parsed == 0 && used == READ_BYTES) die("a packet larger than %d bytes", READ_BYTES);
        c->rest_used = used - parsed;
        if (c->rest_used > c->rest_size) {
            c->rest_size = 2 * c->rest_used;
            c->rest = grown(c->rest, c->rest_size);
        }
        if (c->rest_used) memcpy(c->rest, scratch + parsed, c->rest_used);
    }
    if (c->out_to) flush(c);
}

/* --- connecting --------------------------------------------------------------------------------------------- */

static void use_certificate(SSL *ssl, int index) {
    char cert[4096], key[4096];
    expand(cert, sizeof cert, option.cert, index);
    expand(key, sizeof key, option.key, index);
    if (SSL_use_certificate_chain_file(ssl, cert) != 1) die("%s holds no certificate", cert);
    if (SSL_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1) die("%s holds no key for %s", key, cert);
}

static void prepare_tls(void) {
    int version = option.tls == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    tls = SSL_CTX_new(TLS_client_method());
    if (!tls) die("no TLS");
    SSL_CTX_set_min_proto_version(tls, version);
    SSL_CTX_set_max_proto_version(tls, version);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, 1 << 16);
    if (SSL_CTX_load_verify_locations(tls, option.cafile, NULL) != 1) die("%s holds no CA", option.cafile);
    if (option.cert && !varies(option.cert)) {
        if (SSL_CTX_use_certificate_chain_file(tls, option.cert) != 1) die("%s holds no certificate", option.cert);
        if (SSL_CTX_use_PrivateKey_file(tls, option.key, SSL_FILETYPE_PEM) != 1) die("%s holds no key", option.key);
    }
}

static void start_tls(struct connection *c) {
    const char *name = option.server_name ? option.server_name : option.host;
    struct in6_addr address;
    c->ssl = SSL_new(tls);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) die("no TLS");
    if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), name);
    } else {
        SSL_set1_host(c->ssl, name);
        SSL_set_tlsext_host_name(c->ssl, name);
    }
    if (option.cert && varies(option.cert)) use_certificate(c->ssl, c->index);
    SSL_set_connect_state(c->ssl);
    c->stage = TLS_HANDSHAKE;
}

static void start_connection(struct connection *c, const struct addrinfo *address) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    int on = 1;
    c->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, address->ai_addr, address->ai_addrlen) && errno != EINPROGRESS) {
        die("connect: %s", strerror(errno));
    }
    c->awaits_write = true;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

/* Take a connection from TCP over TLS to CONNECT. */
static void advance(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    if (c->stage == TCP_CONNECT) {
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) die("connect to %s port %s: %s", option.host, option.port, strerror(error));
        if (tls) start_tls(c);
    }
    if (c->ssl) {
        int done = SSL_do_handshake(c->ssl);
        if (done != 1) {
            error = SSL_get_error(c->ssl, done);
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) die("TLS handshake failed (%d)", error);
            watch(c, error == SSL_ERROR_WANT_WRITE);
            return;
        }
    }
    send_connect(c);
}

/* --- the loop ----------------------------------------------------------------------------------------------- */

static void turn(int milliseconds) {
    struct epoll_event events[256];
    int count = epoll_wait(poller, events, 256, milliseconds);
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (!c) {
            uint64_t ticks; /* the timer of --rate: it only has to wake us */
            if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timer: %s", strerror(errno));
            continue;
        }
        if (c->stage <= TLS_HANDSHAKE) {
            advance(c);
            continue;
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
        if (events[i].events & EPOLLOUT) flush(c);
    }
}

static void connect_all(void) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *address;
    int error = getaddrinfo(option.host, option.port, &hints, &address);
    if (error) die("%s: %s", option.host, gai_strerror(error));
    uint64_t deadline = now() + CONNECT_SECONDS * SECOND;
    while (ready < total) {
        while (started < total && started - ready < CONNECTING_AT_ONCE) {
            start_connection(&connections[started++], address);
        }
        turn(100);
        if (now() > deadline) die("only %d of %d connections were ready after %d s", ready, total, CONNECT_SECONDS);
    }
    freeaddrinfo(address);
}

/* The messages that every subscriber has, or will never have. */
static uint64_t settled_by_all(void) {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < option.subscribers; i++) {
        uint64_t settled = subscribers[i].delivered + subscribers[i].missing;
        if (settled < least) least = settled;
    }
    return least;
}

/* How many messages this publisher may send now. */
static uint64_t allowance(const struct connection *c, uint64_t settled) {
    const struct connection *peer = &subscribers[c->number];
    uint64_t outstanding = pairs ? c->sent - peer->delivered - peer->missing : sum.sent - settled;
    uint64_t free = option.window > outstanding ? option.window - outstanding : 0;
    if (c->out_to - c->out_from > WRITE_BYTES) return 0;
    if (option.qos) {
        uint64_t unacked = c->sent - c->acked;
        uint64_t slots = option.in_flight > unacked ? option.in_flight - unacked : 0;
        return free < slots ? free : slots;
    }
    /* A flood refills its window in quarters, as it would a socket's buffer: not message by message. */
    if (option.rate <= 0 && free < option.window / 4) return 0;
    if (pairs || !free) return free;
    return free / (uint64_t)option.publishers + 1;
}

/* Publish what the windows and `left` allow, the publishers taking turns. */
static void publish_allowed(uint64_t left, uint64_t begin, uint64_t sent_before) {
    static int turn_of;
    uint64_t settled = pairs ? 0 : settled_by_all(), published = 0;
    int first = turn_of;
    for (int i = 0; i < option.publishers && published < left; i++) {
        struct connection *c = &publishers[(first + i) % option.publishers];
        uint64_t count = allowance(c, settled);
        if (count > left - published) count = left - published;
        if (option.rate > 0 && count > 1 && option.publishers > 1) count = 1;
        for (uint64_t k = 0; k < count; k++) {
            double due = (double)(sum.sent - sent_before) / option.rate;
            publish(c, option.rate > 0 ? begin + (uint64_t)(due * 1e9) : 0);
        }
        if (!count) continue;
        flush(c);
        published += count;
        turn_of = (first + i + 1) % option.publishers;
    }
}

static uint64_t expected(void) { return pairs ? sum.sent : sum.sent * (uint64_t)option.subscribers; }

static bool settled(void) {
    return sum.delivered + sum.missing >= expected() && (!option.qos || sum.acked >= sum.sent);
}

static void make_timer(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0) die("timer: %s", strerror(errno));
    if (epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event)) die("epoll_ctl: %s", strerror(errno));
    prctl(PR_SET_TIMERSLACK, 1);
}

static struct timespec timespec_of(uint64_t nanoseconds) {
    return (struct timespec){(time_t)(nanoseconds / SECOND), (long)(nanoseconds % SECOND)};
}

/* Have the timer wake the loop when each message of --rate is due; many together when they come very fast. */
static void start_timer(uint64_t begin) {
    uint64_t interval = (uint64_t)(1e9 / option.rate);
    if (interval < 50000) interval = 50000;
    struct itimerspec every = {timespec_of(interval), timespec_of(begin + interval)};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &every, NULL)) die("timer: %s", strerror(errno));
}

/* Publish `messages`, or for `seconds`, and wait until all is delivered or nothing moves any more. */
static void run(uint64_t messages, double seconds) {
    uint64_t begin = now(), moved_at = begin, moved = sum.delivered + sum.acked, sent_before = sum.sent;
    uint64_t end = seconds > 0 ? begin + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    uint64_t stall = (uint64_t)(option.stall_seconds * 1e9);
    if (option.rate > 0) start_timer(begin);
    while (true) {
        uint64_t time = now(), done = sum.sent - sent_before;
        uint64_t left = time < end && done < messages ? messages - done : 0;
        if (!left && settled()) return;
        if (left && option.rate > 0) {
            uint64_t due = (uint64_t)((double)(time - begin) * 1e-9 * option.rate + 1e-3) + 1;
            left = due <= done ? 0 : due - done < left ? due - done : left;
        }
        if (left) publish_allowed(left, begin, sent_before);
        turn(20);
        if (sum.delivered + sum.acked != moved) {
            moved = sum.delivered + sum.acked;
            moved_at = time;
        } else if (time > moved_at + stall) {
            return;
        }
    }
}

/* --- the command line --------------------------------------------------------------------------------------- */

static const char *const USAGE =
    "load [--host H] [--port P] [--subscribers N] [--publishers N] [--qos 0|1] [--payload BYTES]\n"
    "     (--seconds T | --messages N) [--warm-up N] [--window N] [--in-flight N] [--rate PER_SECOND]\n"
    "     [--tls 12|13 --cafile F [--server-name N] [--cert F --key F]] [--user U] [--password P]\n"
    "     [--client-id PATTERN] [--topic PATTERN] [--filter PATTERN] [--stall-seconds T] [--steps]\n"
    "%i stands for the connection's number (client id, cert, key, user, password), the publisher's (topic) or the\n"
    "subscriber's (filter). Where the filter has one, subscriber i hears publisher i; otherwise each hears all.\n";

enum { HOST = 256, PORT, SUBSCRIBERS, PUBLISHERS, QOS, PAYLOAD, SECONDS, MESSAGES, WARM_UP, WINDOW, IN_FLIGHT, RATE,
       TLS, CAFILE, SERVER_NAME, CERT, KEY, USER, PASSWORD, CLIENT_ID, TOPIC, FILTER, STALL, STEPS };

static const struct option KNOWN[] = {
    {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"subscribers", 1, 0, SUBSCRIBERS}, {"publishers", 1, 0, PUBLISHERS},
    {"qos", 1, 0, QOS}, {"payload", 1, 0, PAYLOAD}, {"seconds", 1, 0, SECONDS}, {"messages", 1, 0, MESSAGES},
    {"warm-up", 1, 0, WARM_UP}, {"window", 1, 0, WINDOW}, {"in-flight", 1, 0, IN_FLIGHT}, {"rate", 1, 0, RATE},
    {"tls", 1, 0, TLS}, {"cafile", 1, 0, CAFILE}, {"server-name", 1, 0, SERVER_NAME}, {"cert", 1, 0, CERT},
    {"key", 1, 0, KEY}, {"user", 1, 0, USER}, {"password", 1, 0, PASSWORD}, {"client-id", 1, 0, CLIENT_ID},
    {"topic", 1, 0, TOPIC}, {"filter", 1, 0, FILTER}, {"stall-seconds", 1, 0, STALL}, {"steps", 0, 0, STEPS},
    {0, 0, 0, 0},
};

__attribute__((noreturn)) static void usage(const char *problem) {
    fprintf(stderr, "load: %s\n%s", problem, USAGE);
    exit(2);
}

static void set_option(int name) {
    switch (name) {
    case HOST: option.host = optarg; return;
    case PORT: option.port = optarg; return;
    case SUBSCRIBERS: option.subscribers = atoi(optarg); return;
    case PUBLISHERS: option.publishers = atoi(optarg); return;
    case QOS: option.qos = atoi(optarg); return;
    case PAYLOAD: option.payload = (uint32_t)atoi(optarg); return;
    case SECONDS: option.seconds = atof(optarg); return;
    case MESSAGES: option.messages = strtoull(optarg, NULL, 10); return;
    case WARM_UP: option.warm_up = strtoull(optarg, NULL, 10); return;
    case WINDOW: option.window = strtoull(optarg, NULL, 10); return;
    case IN_FLIGHT: option.in_flight = (uint32_t)atoi(optarg); return;
    case RATE: option.rate = atof(optarg); return;
    case TLS: option.tls = atoi(optarg); return;
    case CAFILE: option.cafile = optarg; return;
    case SERVER_NAME: option.server_name = optarg; return;
    case CERT: option.cert = optarg; return;
    case KEY: option.key = optarg; return;
    case USER: option.user = optarg; return;
    case PASSWORD: option.password = optarg; return;
    case CLIENT_ID: option.client_id = optarg; return;
    case TOPIC: option.topic = optarg; return;
    case FILTER: option.filter = optarg; return;
    case STALL: option.stall_seconds = atof(optarg); return;
    case STEPS: option.steps = true; return;
    default: usage("an unknown option");
    }
}

static void read_options(int count, char **words) {
    int name;
    while ((name = getopt_long(count, words, "", KNOWN, NULL)) != -1) set_option(name);
    if (!option.filter) option.filter = option.topic;
    pairs = varies(option.filter);
    if (optind < count) usage("options only");
    if (option.subscribers < 1 || option.publishers < 1) usage("at least one subscriber and one publisher");
    if (pairs && option.subscribers != option.publishers) usage("pairs need as many subscribers as publishers");
    if (option.qos < 0 || option.qos > 1) usage("--qos is 0 or 1");
    if (option.payload < MARK_BYTES || option.payload > READ_BYTES / 2) usage("--payload is 16 to 131072");
    if (option.in_flight < 1 || option.in_flight > 65000 || !option.window) usage("a window of nothing");
    if (!option.messages == !(option.seconds > 0)) usage("either --seconds or --messages");
    if (option.tls && option.tls != 12 && option.tls != 13) usage("--tls is 12 or 13");
    if (option.tls && !option.cafile) usage("--tls needs --cafile");
    if (!option.cert != !option.key) usage("--cert and --key go together");
    if (option.password && !option.user) usage("--password needs --user");
}

static void prepare(void) {
    total = option.subscribers + option.publishers;
    connections = calloc((size_t)total, sizeof *connections);
    size_t sequences = (size_t)option.subscribers * (pairs ? 1 : (size_t)option.publishers);
    next_sequence = calloc(sequences, sizeof *next_sequence);
    if (!connections || !next_sequence) die("out of memory");
    subscribers = connections;
    publishers = connections + option.subscribers;
    for (int i = 0; i < total; i++) {
        struct connection *c = &connections[i];
        c->index = i;
        c->publishes = i >= option.subscribers;
        c->number = c->publishes ? i - option.subscribers : i;
        expand(c->name, sizeof c->name, c->publishes ? option.topic : option.filter, c->number);
        if (c->publishes) make_frame(c);
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) die("epoll: %s", strerror(errno));
    if (option.rate > 0) make_timer();
    if (option.tls) prepare_tls();
}

static void wait_for_line(void) {
    for (int c = getchar(); c != '\n' && c != EOF; c = getchar()) continue;
}

/* --- the result --------------------------------------------------------------------------------------------- */

static void print_latency(void) {
    printf(", \"latency_microseconds\": {\"p50\": %.1f, ", latency_microseconds(0.5));
    printf("\"p90\": %.1f, \"p99\": %.1f, ", latency_microseconds(0.9), latency_microseconds(0.99));
    printf("\"p999\": %.1f, \"max\": %.1f}", latency_microseconds(0.999), (double)latency_most * 1e-3);
}

static void print_result(const struct totals *before, double elapsed, double cpu, double connecting) {
    uint64_t delivered = sum.delivered - before->delivered;
    printf("{\"subscribers\": %d, \"publishers\": %d, ", option.subscribers, option.publishers);
    printf("\"qos\": %d, \"payload_bytes\": %u, ", option.qos, option.payload);
    printf("\"tls\": \"%s\", ", tls ? SSL_get_version(connections->ssl) : "");
    printf("\"cipher\": \"%s\", ", tls ? SSL_get_cipher(connections->ssl) : "");
    printf("\"connect_seconds\": %.4f, ", connecting);
    printf("\"published\": %" PRIu64 ", \"delivered\": %" PRIu64 ", ", sum.sent - before->sent, delivered);
    printf("\"lost\": %" PRIu64 ", \"duplicates\": %" PRIu64 ", ", expected() - sum.delivered, sum.duplicates);
    printf("\"acked\": %" PRIu64 ", ", sum.acked - before->acked);
    printf("\"elapsed_seconds\": %.6f, \"delivered_per_second\": %.1f, ", elapsed, (double)delivered / elapsed);
    printf("\"cpu_seconds\": %.6f, \"cpu_share\": %.4f, ", cpu, cpu / elapsed);
    printf("\"saturated\": %s", cpu / elapsed > SATURATED_SHARE ? "true" : "false");
    if (latency_count) print_latency();
    puts("}");
    fflush(stdout);
}

static void disconnect_all(void) {
    for (int i = 0; i < total; i++) {
        uint8_t *at = room(&connections[i], 2);
        at[0] = 0xe0;
        at[1] = 0;
        write_some(&connections[i], connections[i].out, connections[i].out_to);
        close(connections[i].fd);
    }
}

int main(int count, char **words) {
    read_options(count, words);
    prepare();
    uint64_t begin = now();
    connect_all();
    double connecting = (double)(now() - begin) * 1e-9;
    run(option.warm_up, 0);
    uint64_t lost = expected() - sum.delivered;
    memset(latency, 0, sizeof latency);
    latency_count = latency_most = 0;
    if (lost) die("%" PRIu64 " messages of the warm-up were lost", lost);
    if (option.steps) {
        puts("warm");
        fflush(stdout);
        wait_for_line();
    }
    struct totals before = sum;
    double cpu = own_cpu_seconds();
    begin = now();
    run(option.messages ? option.messages : UINT64_MAX, option.seconds);
    double elapsed = (double)(now() - begin) * 1e-9;
    cpu = own_cpu_seconds() - cpu;
    print_result(&before, elapsed, cpu, connecting);
    if (option.steps) wait_for_line();
    disconnect_all();
    return 0;
}
