/*
 * The bench's load generator for CoAP: clients in one thread over UDP or, by OpenSSL, over DTLS 1.2.
 *
 *     coap --port P [--do get|put|observe|handshakes|idle|storm|calm] [--clients N] [--seconds T] [--rate R] [--together]
 *          [--payload BYTES] [--path PATH] [--psk-identity NAME --psk HEX | --cafile F --cert F --key F] [--steps]
 *
 * get, put      N clients (sessions), each with one Confirmable request under way, for T seconds.
 * observe       N clients observe PATH, one more changes it by PUT and waits until all were told; T seconds.
 * handshakes    N handshakes, one after the other, each followed by one GET and close_notify.
 * idle          N sessions are made and stay; it prints "idle" and waits for a line before it prints its result.
 * storm         R handshakes a second for T seconds, by N processes in turn, or --together N at once; each with one GET.
 * calm          N sessions ask in turn, R times a second for T seconds. How long an answer took counts from the time at
 *               which the request was due.
 *
 * Each prints one line of JSON: what was done, how long it took, the CPU it took itself, and what had to be sent again.
 * With --steps it prints "warm" when it is about to measure and waits for a line on standard input, and after the
 * result it waits for another. Anything unexpected is said on standard error and ends it with status 1.
 *
 * An address that has to prove itself first (4.01 with Echo, RFC 9175) does so in the warm-up.
 *
 * Build: gcc -O2 -Wall -Wextra -o coap coap.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CON = 0, NON = 1, ACK = 2, RST = 3, GET = 1, PUT = 3, OBSERVE = 6, URI_PATH = 11, ECHO = 252, MOST = 1500 };

static struct {
    const char *what, *port, *path, *identity, *psk, *cafile, *cert, *key;
    int clients;
    double seconds, rate;
    size_t payload;
    bool steps, together;
} option = {.what = "get", .path = "bench/0", .clients = 1, .seconds = 2.0, .rate = 200.0, .payload = 64};

struct client {
    int fd;
    SSL *ssl;
    uint16_t mid;
    uint8_t token[2];
    uint8_t echo[40];
    size_t echo_bytes;
};

static SSL_CTX *context;
static uint64_t resent;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("coap: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (ERR_peek_error()) ERR_print_errors_fp(stderr);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double own_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static unsigned int tell_psk(SSL *ssl, const char *hint, char *identity, unsigned int room, unsigned char *key,
                             unsigned int key_room) {
    (void)ssl, (void)hint;
    size_t length = strlen(option.psk) / 2;
    if (strlen(option.identity) >= room || length > key_room) return 0;
    strcpy(identity, option.identity);
    for (size_t i = 0; i < length; i++) {
        unsigned int byte;
        if (sscanf(option.psk + 2 * i, "%2x", &byte) != 1) return 0;
        key[i] = (unsigned char)byte;
    }
    return (unsigned int)length;
}

static void make_context(void) {
    if (!option.psk && !option.cert) return;
    context = SSL_CTX_new(DTLS_client_method());
    if (!context) fail("no DTLS");
    SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION);
    SSL_CTX_set_security_level(context, 0); /* CCM_8 has a tag of 64 bits, which a higher level refuses */
    SSL_CTX_set_options(context, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET);
    const char *suite = option.psk ? "PSK-AES128-CCM8" : "ECDHE-ECDSA-AES128-CCM8";
    if (!SSL_CTX_set_cipher_list(context, suite)) fail("no %s", suite);
    if (option.psk) {
        SSL_CTX_set_psk_client_callback(context, tell_psk);
        return;
    }
    if (SSL_CTX_load_verify_locations(context, option.cafile, NULL) != 1) fail("cannot read %s", option.cafile);
    if (SSL_CTX_use_certificate_chain_file(context, option.cert) != 1) fail("cannot read %s", option.cert);
    if (SSL_CTX_use_PrivateKey_file(context, option.key, SSL_FILETYPE_PEM) != 1) fail("cannot read %s", option.key);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
}

static struct client open_client(void) {
    struct client c = {.fd = socket(AF_INET, SOCK_DGRAM, 0)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(option.port))};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    struct timeval patience = {.tv_sec = 2};
    if (c.fd < 0 || connect(c.fd, (struct sockaddr *)&to, sizeof to)) fail("no socket: %s", strerror(errno));
    setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    c.mid = (uint16_t)random();
    if (!context) return c;
    BIO *bio = BIO_new_dgram(c.fd, BIO_NOCLOSE);
    BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &to);
    BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_RECV_TIMEOUT, 0, &patience);
    c.ssl = SSL_new(context);
    SSL_set_bio(c.ssl, bio, bio);
    SSL_set_mtu(c.ssl, 1280);
    if (SSL_connect(c.ssl) != 1) fail("no handshake");
    return c;
}

static void close_client(struct client *c) {
    if (c->ssl) {
        SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
    }
    close(c->fd);
}

static void put_bytes(struct client *c, const uint8_t *data, size_t length) {
    ssize_t sent = c->ssl ? SSL_write(c->ssl, data, (int)length) : send(c->fd, data, length, 0);
    if (sent != (ssize_t)length) fail("cannot send: %s", strerror(errno));
}

static ssize_t get_bytes(struct client *c, uint8_t *data) {
    if (!c->ssl) return recv(c->fd, data, MOST, 0);
    int got = SSL_read(c->ssl, data, MOST);
    if (got > 0) return got;
    if (SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ) return -1;
    fail("the session ended");
}

static size_t put_option(uint8_t *at, unsigned int delta, const void *value, size_t length) {
    size_t n = 1;
    uint8_t first = 0;
    if (delta < 13) first = (uint8_t)(delta << 4);
    else first = 13 << 4, at[n++] = (uint8_t)(delta - 13);
    if (length < 13) first |= (uint8_t)length;
    else first |= 13, at[n++] = (uint8_t)(length - 13);
    at[0] = first;
    memcpy(at + n, value, length);
    return n + length;
}

static size_t write_request(struct client *c, uint8_t *out, int method, bool observes, const uint8_t *body) {
    c->mid++;
    size_t n = 0;
    out[n++] = 0x40 | CON << 4 | 2, out[n++] = (uint8_t)method, out[n++] = (uint8_t)(c->mid >> 8);
    out[n++] = (uint8_t)c->mid, out[n++] = c->token[0], out[n++] = c->token[1];
    unsigned int last = 0;
    if (observes) n += put_option(out + n, OBSERVE, "", 0), last = OBSERVE;
    for (const char *at = option.path; *at;) {
        size_t length = strcspn(at, "/");
        n += put_option(out + n, URI_PATH - last, at, length);
        last = URI_PATH;
        at += length + (at[length] == '/');
    }
    if (c->echo_bytes) n += put_option(out + n, ECHO - last, c->echo, c->echo_bytes);
    if (body) {
        out[n++] = 0xff;
        memcpy(out + n, body, option.payload);
        n += option.payload;
    }
    return n;
}

/* Look for Echo in a 4.01; say whether it was there, and is now known. */
static bool take_echo(struct client *c, const uint8_t *data, size_t length) {
    size_t at = 4 + (data[0] & 15);
    unsigned int number = 0;
    while (at < length && data[at] != 0xff) {
        unsigned int delta = data[at] >> 4, size = data[at] & 15;
        at++;
        if (delta == 13) delta = data[at++] + 13u;
        else if (delta == 14) delta = (unsigned int)(data[at] << 8 | data[at + 1]) + 269, at += 2;
        if (size == 13) size = data[at++] + 13u;
        number += delta;
        if (number == ECHO && size <= sizeof c->echo) {
            memcpy(c->echo, data + at, size);
            c->echo_bytes = size;
            return true;
        }
        at += size;
    }
    return false;
}

/* Wait for the answer to what was sent; acknowledge notifications on the way. Gives its code. */
static int wait_answer(struct client *c, const uint8_t *sent, size_t sent_bytes, uint8_t *data, ssize_t *length) {
    for (int tries = 0; tries < 5;) {
        *length = get_bytes(c, data);
        if (*length < 4) {
            tries++, resent++;
            put_bytes(c, sent, sent_bytes);
            continue;
        }
        if ((data[0] >> 4 & 3) == CON) {
            uint8_t ack[4] = {0x40 | ACK << 4, 0, data[2], data[3]};
            put_bytes(c, ack, 4);
        }
        if (data[1] && (data[0] & 15) == 2 && !memcmp(data + 4, c->token, 2)) return data[1];
    }
    fail("no answer");
}

static int ask(struct client *c, int method, bool observes, const uint8_t *body) {
    uint8_t out[MOST], in[MOST];
    ssize_t got;
    size_t n = write_request(c, out, method, observes, body);
    put_bytes(c, out, n);
    int code = wait_answer(c, out, n, in, &got);
    if (code == 0x81 && !c->echo_bytes && take_echo(c, in, (size_t)got)) {
        code = ask(c, method, observes, body);
        c->echo_bytes = 0; /* the address is believed from here on */
    }
    return code;
}

static void expect_success(int code, const char *what) {
    if (code >> 5 != 2) fail("%s was answered with %d.%02d", what, code >> 5, code & 31);
}

static void step(const char *word) {
    char line[16];
    if (!option.steps) return;
    puts(word);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) exit(1);
}

static void tell(uint64_t count, double began, double cpu) {
    double took = now() - began;
    printf("{\"count\": %llu, \"elapsed_seconds\": %.6f, \"cpu_seconds\": %.6f, \"resent\": %llu}\n", (unsigned long long)count, took,
           own_cpu() - cpu, (unsigned long long)resent);
    fflush(stdout);
    char line[16];
    if (option.steps && !fgets(line, sizeof line, stdin)) exit(1);
}

static struct client *open_clients(int count) {
    struct client *all = calloc((size_t)count, sizeof *all);
    for (int i = 0; i < count; i++) {
        all[i] = open_client();
        all[i].token[0] = (uint8_t)(i >> 8), all[i].token[1] = (uint8_t)i;
    }
    return all;
}

static void do_requests(int method, const uint8_t *body) {
    struct client *all = open_clients(option.clients);
    expect_success(ask(&all[0], PUT, false, body), "PUT");
    for (int i = 0; i < option.clients; i++) {
        for (int k = 0; k < 50; k++) expect_success(ask(&all[i], method, false, method == PUT ? body : NULL), "it");
    }
    step("warm");
    uint8_t(*out)[MOST] = malloc((size_t)option.clients * MOST), in[MOST];
    size_t *length = calloc((size_t)option.clients, sizeof *length);
    double began = now(), cpu = own_cpu();
    uint64_t count = 0;
    while (now() < began + option.seconds) {
        for (int i = 0; i < option.clients; i++) {
            length[i] = write_request(&all[i], out[i], method, false, method == PUT ? body : NULL);
            put_bytes(&all[i], out[i], length[i]);
        }
        for (int i = 0; i < option.clients; i++, count++) {
            ssize_t got;
            expect_success(wait_answer(&all[i], out[i], length[i], in, &got), option.what);
        }
    }
    tell(count, began, cpu);
}

static void do_observe(uint8_t *body) {
    struct client *all = open_clients(option.clients), teller = open_client();
    teller.token[0] = 0xff;
    expect_success(ask(&teller, PUT, false, body), "PUT");
    for (int i = 0; i < option.clients; i++) expect_success(ask(&all[i], GET, true, NULL), "Observe");
    uint64_t count = 0;
    uint8_t in[MOST];
    double began = 0, cpu = 0;
    for (uint64_t round = 0; round < 20 || now() < began + option.seconds; round++) {
        if (round == 19) {
            step("warm");
            count = 0, began = now(), cpu = own_cpu();
        }
        memcpy(body, &round, sizeof round);
        expect_success(ask(&teller, PUT, false, body), "PUT");
        for (int i = 0; i < option.clients; i++, count++) {
            ssize_t got;
            do {
                got = get_bytes(&all[i], in);
                if (got < 4) fail("a notification is missing");
                if ((in[0] >> 4 & 3) == CON) put_bytes(&all[i], (uint8_t[]){0x60, 0, in[2], in[3]}, 4);
            } while (memcmp(in + got - option.payload, &round, sizeof round));
        }
    }
    tell(count, began, cpu);
}

static void do_handshakes(void) {
    struct client c = open_client();
    ask(&c, GET, false, NULL);
    close_client(&c);
    step("warm");
    double began = now(), cpu = own_cpu();
    for (int i = 0; i < option.clients; i++) {
        c = open_client();
        ask(&c, GET, false, NULL);
        close_client(&c);
    }
    tell((uint64_t)option.clients, began, cpu);
}

static void do_idle(void) {
    step("warm");
    double began = now(), cpu = own_cpu();
    struct client *all = open_clients(option.clients);
    for (int i = 0; i < option.clients; i++) ask(&all[i], GET, false, NULL);
    step("idle");
    tell((uint64_t)option.clients, began, cpu);
}

static void sleep_until(double due) {
    double left = due - now();
    if (left <= 0) return;
    struct timespec t = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
    nanosleep(&t, NULL);
}

static void do_storm(void) {
    step("warm");
    double began = now(), every = option.clients / option.rate;
    int count = (int)(option.seconds / every);
    for (int k = 0; k < option.clients; k++) {
        pid_t child = fork();
        if (child < 0) fail("cannot fork");
        if (child) continue;
        double phase = option.together ? 0.0 : k / option.rate;
        for (int i = 0; i < count; i++) {
            sleep_until(began + phase + i * every);
            struct client c = open_client();
            expect_success(ask(&c, GET, false, NULL), "GET");
            close_client(&c);
        }
        _exit(0);
    }
    int failures = 0;
    for (int status; wait(&status) > 0;) failures += status != 0;
    if (failures) fail("%d of %d processes did not get through", failures, option.clients);
    tell((uint64_t)count * (uint64_t)option.clients, began, own_cpu());
}

static int in_order(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void do_calm(void) {
    struct client *all = open_clients(option.clients);
    uint8_t body[MOST] = {0};
    expect_success(ask(&all[0], PUT, false, body), "PUT");
    for (int i = 0; i < option.clients; i++) expect_success(ask(&all[i], GET, false, NULL), "GET");
    step("warm");
    size_t count = (size_t)(option.seconds * option.rate);
    double *took = calloc(count, sizeof *took), began = now(), cpu = own_cpu();
    for (size_t i = 0; i < count; i++) {
        double due = began + (double)i / option.rate;
        sleep_until(due);
        expect_success(ask(&all[i % (size_t)option.clients], GET, false, NULL), "GET");
        took[i] = (now() - due) * 1000;
    }
    double elapsed = now() - began;
    qsort(took, count, sizeof *took, in_order);
    printf("{\"count\": %zu, \"elapsed_seconds\": %.6f, \"cpu_seconds\": %.6f, \"resent\": %llu, "
           "\"milliseconds\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}}\n",
           count, elapsed, own_cpu() - cpu, (unsigned long long)resent, took[count / 2], took[count * 99 / 100],
           took[count - 1]);
    fflush(stdout);
    char line[16];
    if (option.steps && !fgets(line, sizeof line, stdin)) exit(1);
}

int main(int argc, char **argv) {
    static const struct option known[] = {
        {"do", 1, 0, 'd'}, {"port", 1, 0, 'p'}, {"path", 1, 0, 'a'}, {"clients", 1, 0, 'n'}, {"seconds", 1, 0, 't'},
        {"payload", 1, 0, 'b'}, {"psk-identity", 1, 0, 'i'}, {"psk", 1, 0, 'k'}, {"cafile", 1, 0, 'A'},
        {"cert", 1, 0, 'c'}, {"key", 1, 0, 'K'}, {"steps", 0, 0, 's'},
        {"rate", 1, 0, 'r'}, {"together", 0, 0, 'g'}, {0, 0, 0, 0},
    };
    for (int o; (o = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (o) {
        case 'd': option.what = optarg; break;
        case 'p': option.port = optarg; break;
        case 'a': option.path = optarg; break;
        case 'n': option.clients = atoi(optarg); break;
        case 't': option.seconds = atof(optarg); break;
        case 'b': option.payload = strtoul(optarg, NULL, 10); break;
        case 'i': option.identity = optarg; break;
        case 'k': option.psk = optarg; break;
        case 'A': option.cafile = optarg; break;
        case 'c': option.cert = optarg; break;
        case 'K': option.key = optarg; break;
        case 's': option.steps = true; break;
        case 'r': option.rate = atof(optarg); break;
        case 'g': option.together = true; break;
        default: return 2;
        }
    }
    if (!option.port || option.payload < 8 || option.payload > 1024 || option.clients < 1 || option.rate <= 0) {
        fputs("coap: --port is needed, --payload is 8 to 1024, --clients at least 1, --rate above 0\n", stderr);
        return 2;
    }
    uint8_t body[1024];
    memset(body, 'x', sizeof body);
    make_context();
    if (!strcmp(option.what, "get")) do_requests(GET, body);
    else if (!strcmp(option.what, "put")) do_requests(PUT, body);
    else if (!strcmp(option.what, "observe")) do_observe(body);
    else if (!strcmp(option.what, "handshakes")) do_handshakes();
    else if (!strcmp(option.what, "idle")) do_idle();
    else if (!strcmp(option.what, "storm")) do_storm();
    else if (!strcmp(option.what, "calm")) do_calm();
    else fail("--do is get, put, observe, handshakes, idle, storm or calm");
    return 0;
}
