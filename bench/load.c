/*
 * The bench's load generator: MQTT 3.1.1 and 5.0 clients in one thread, on epoll, with OpenSSL for TLS.
 *
 * It measures its own CPU as well, and says when it was the bottleneck itself ("saturated"). Each task prints one
 * line of JSON. What is lost or comes twice is counted, message by message; anything unexpected is said on standard
 * error and ends it with status 1.
 *
 * --do flow (unless told otherwise)
 *     Connects everyone, subscribes, warms up, publishes for a time or a number of messages, and waits until
 *     everything has arrived. Deliveries give back the right to publish (--window), so that a broker which drops what
 *     it cannot queue is never overrun. At QoS 1 and 2 a publisher has at most --in-flight messages that are not
 *     settled; with --refill N it lets N be acknowledged before it looks, and sends N in one write. With --at-most, a
 *     flood of that many a second ends where it would be the generator that is measured. With --rate, messages of all publishers together are due at fixed times, and a
 *     latency counts from the time at which its message was due: a broker that stalls cannot hide it. --seconds is
 *     then how long messages become due, and the flow lasts until they all have arrived.
 * --do handshakes --count N [--at-once M] [--clients C] [--rate R] [--resume]
 *     C clients (M unless told), at most M at a time, connect (TCP, TLS, CONNECT, CONNACK) and disconnect, N times
 *     together, after each did so once as the warm-up. With C well above M none is back before the broker has seen
 *     it leave. --resume resumes the TLS session, with a fresh ticket each time; fewer than 99 % is a failure.
 * --do idle --count N
 *     N clients connect and are silent. It prints "idle" and waits for a line before it prints its result.
 * --do storm-subscribe --count N --filters K --rate R --seconds QUIET [--at-once M] [--storm-rate S]
 *     A flow runs; N further clients, long connected, subscribe to K filters of their own each (--storm-filter), each
 *     as fast as the broker answers: all at once, or M at a time, or S more clients a second. Latencies of the flow
 *     before and meanwhile are told apart by when each message was due.
 * --do storm-reconnect --count N --rate R --seconds QUIET [--filters K] [--fin] [--resume] [--at-once M]
 *                      [--storm-rate S]
 *     A flow runs; N further clients drop at once (by a reset, or with --fin by the end of file), and connect again at
 *     once, or M at a time, or S more a second. A client whose attempt fails tries again after --retry-seconds (1). K
 *     is how many filters each subscribes to before it counts as back; none unless told.
 *
 * With --steps it prints "warm" when it is about to measure and waits for a line on standard input, and waits for
 * another after the result, before it disconnects: in between, someone else can read the broker's CPU. After a flow's
 * result, a line "again N" has the same connections publish N messages more; it prints how many deliveries that made.
 *
 * Build: gcc -O2 -Wall -Wextra -o load load.c -lssl -lcrypto          (the parts in load/ are included here)
 */
#include "load/common.h"
#include "load/stream.h"
#include "load/mqtt.h"
#include "load/loop.h"
#include "load/flow.h"
#include "load/tasks.h"

static const char *const USAGE =
    "load [--do flow|handshakes|idle|storm-subscribe|storm-reconnect] [--host H] [--port P] [--protocol 4|5]\n"
    "     [--tls 12|13 --cafile F [--server-name N] [--cert F --key F]] [--user U] [--password P | --password-file F]\n"
    "     [--client-id PATTERN] [--at-once N] [--steps]\n"
    "  flow and storms:\n"
    "     [--subscribers N] [--publishers N] [--qos 0|1|2] [--payload BYTES] [--topic PATTERN] [--filter PATTERN]\n"
    "     [--window N] [--in-flight N [--refill N]] [--rate PER_SECOND | --at-most PER_SECOND] [--warm-up N] [--stall-seconds T]\n"
    "     [--session clean|persistent] (--seconds T | --messages N)\n"
    "  handshakes: --count N [--clients N] [--rate PER_SECOND] [--resume]\n"
    "  idle: --count N\n"
    "  storms: --count N --rate PER_SECOND --seconds QUIET [--filters N] [--storm-filter PATTERN]\n"
    "          [--storm-rate CLIENTS_PER_SECOND], storm-reconnect also [--fin] [--resume] [--retry-seconds T]\n"
    "In client id, cert, key, user and password, %i stands for the connection's number: subscribers come first, then\n"
    "publishers, then the clients of --count (of handshakes and idle: these alone). A password file has a line for each.\n"
    "In a topic %i is the publisher's number, in a filter the subscriber's, in a storm's filter the client's, where %k\n"
    "is the filter's; %c is the connection's number there. Where the filter has %i or %c, subscriber i hears publisher\n"
    "i alone; otherwise each hears all. --window is 2000, or with --rate a minute's worth, unless told.\n"
    "The head of load.c says what each task does.\n";

enum { HOST = 256, PORT, SUBSCRIBERS, PUBLISHERS, QOS, PAYLOAD, SECONDS, MESSAGES, WARM_UP, WINDOW, IN_FLIGHT, RATE,
       TLS, CAFILE, SERVER_NAME, CERT, KEY, USER, PASSWORD, PASSWORD_FILE, CLIENT_ID, TOPIC, FILTER, STORM_FILTER,
       STALL, STEPS, DO, COUNT, AT_ONCE, FILTERS, PROTOCOL, SESSION, RESUME, FIN, HELP,
       CLIENTS, STORM_RATE, RETRY, REFILL, AT_MOST };

static const struct option KNOWN[] = {
    {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"subscribers", 1, 0, SUBSCRIBERS}, {"publishers", 1, 0, PUBLISHERS},
    {"qos", 1, 0, QOS}, {"payload", 1, 0, PAYLOAD}, {"seconds", 1, 0, SECONDS}, {"messages", 1, 0, MESSAGES},
    {"warm-up", 1, 0, WARM_UP}, {"window", 1, 0, WINDOW}, {"in-flight", 1, 0, IN_FLIGHT}, {"rate", 1, 0, RATE},
    {"tls", 1, 0, TLS}, {"cafile", 1, 0, CAFILE}, {"server-name", 1, 0, SERVER_NAME}, {"cert", 1, 0, CERT},
    {"key", 1, 0, KEY}, {"user", 1, 0, USER}, {"password", 1, 0, PASSWORD}, {"password-file", 1, 0, PASSWORD_FILE},
    {"client-id", 1, 0, CLIENT_ID}, {"topic", 1, 0, TOPIC}, {"filter", 1, 0, FILTER},
    {"storm-filter", 1, 0, STORM_FILTER}, {"stall-seconds", 1, 0, STALL}, {"steps", 0, 0, STEPS}, {"do", 1, 0, DO},
    {"count", 1, 0, COUNT}, {"at-once", 1, 0, AT_ONCE}, {"filters", 1, 0, FILTERS}, {"protocol", 1, 0, PROTOCOL},
    {"session", 1, 0, SESSION}, {"resume", 0, 0, RESUME}, {"fin", 0, 0, FIN}, {"help", 0, 0, HELP},
    {"clients", 1, 0, CLIENTS}, {"storm-rate", 1, 0, STORM_RATE}, {"retry-seconds", 1, 0, RETRY},
    {"refill", 1, 0, REFILL}, {"at-most", 1, 0, AT_MOST}, {0, 0, 0, 0},
};

__attribute__((noreturn)) static void usage(const char *problem) {
    fprintf(stderr, "load: %s\n%s", problem, USAGE);
    exit(2);
}

static enum task task_of(const char *name) {
    for (int i = FLOW; i <= STORM_RECONNECT; i++) {
        if (!strcmp(name, TASKS[i])) return (enum task)i;
    }
    usage("--do is flow, handshakes, idle, storm-subscribe or storm-reconnect");
}

static bool persistent_of(const char *name) {
    if (!strcmp(name, "persistent")) return true;
    if (!strcmp(name, "clean")) return false;
    usage("--session is clean or persistent");
}

static bool filters_told, window_told;

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
    case WINDOW: option.window = strtoull(optarg, NULL, 10), window_told = true; return;
    case IN_FLIGHT: option.in_flight = (uint32_t)atoi(optarg); return;
    case REFILL: option.refill = (uint32_t)atoi(optarg); return;
    case AT_MOST: option.at_most = atof(optarg); return;
    case RATE: option.rate = atof(optarg); return;
    case TLS: option.tls = atoi(optarg); return;
    case CAFILE: option.cafile = optarg; return;
    case SERVER_NAME: option.server_name = optarg; return;
    case CERT: option.cert = optarg; return;
    case KEY: option.key = optarg; return;
    case USER: option.user = optarg; return;
    case PASSWORD: option.password = optarg; return;
    case PASSWORD_FILE: option.password_file = optarg; return;
    case CLIENT_ID: option.client_id = optarg; return;
    case TOPIC: option.topic = optarg; return;
    case FILTER: option.filter = optarg; return;
    case STORM_FILTER: option.storm_filter = optarg; return;
    case STALL: option.stall_seconds = atof(optarg); return;
    case STEPS: option.steps = true; return;
    case DO: option.task = task_of(optarg); return;
    case COUNT: option.count = atoi(optarg); return;
    case AT_ONCE: option.at_once = atoi(optarg); return;
    case FILTERS: option.filters = (uint32_t)atoi(optarg), filters_told = true; return;
    case PROTOCOL: option.protocol = atoi(optarg); return;
    case SESSION: option.persistent = persistent_of(optarg); return;
    case RESUME: option.resume = true; return;
    case FIN: option.reset = false; return;
    case CLIENTS: option.clients = atoi(optarg); return;
    case STORM_RATE: option.storm_rate = atof(optarg); return;
    case RETRY: option.retry_seconds = atof(optarg); return;
    case HELP: fputs(USAGE, stdout); exit(0);
    default: usage("an unknown option");
    }
}

static void check_flow(void) {
    bool storm = option.task != FLOW;
    pairs = varies(option.filter);
    if (option.subscribers < 1 || option.publishers < 1) usage("at least one subscriber and one publisher");
    if (pairs && option.subscribers != option.publishers) usage("pairs need as many subscribers as publishers");
    if (option.qos < 0 || option.qos > 2) usage("--qos is 0, 1 or 2");
    if (option.payload < MARK_BYTES || option.payload > READ_BYTES / 2) usage("--payload is 16 to 131072");
    if (option.in_flight < 1 || option.in_flight > 65000 || !option.window) usage("a window of nothing");
    if (option.at_most < 0 || (option.at_most > 0 && option.rate > 0)) usage("either --rate or --at-most");
    if (!option.refill || 2 * option.refill > option.in_flight + 1) usage("--refill is 1 to half of --in-flight");
    if (!option.messages == !(option.seconds > 0)) usage("either --seconds or --messages");
    if (storm && (option.seconds <= 0 || option.rate <= 0)) usage("a storm needs --rate, and --seconds of quiet");
    if (storm && option.persistent) usage("a persistent session belongs to the flow alone");
    if (storm && option.task == STORM_SUBSCRIBE && !option.filters) usage("--filters is at least 1");
}

static void check_options(void) {
    bool flows = option.task != HANDSHAKES && option.task != IDLE;
    if (flows) check_flow();
    if (!option.count == (option.task != FLOW)) usage("--count belongs to all tasks but flow");
    if (option.count < 0 || option.at_once < 0) usage("a count below 0");
    if (option.clients && option.clients < option.at_once) usage("--clients is at least --at-once");
    if (option.protocol != 4 && option.protocol != 5) usage("--protocol is 4 (MQTT 3.1.1) or 5");
    if (option.tls && option.tls != 12 && option.tls != 13) usage("--tls is 12 or 13");
    if (option.tls && !option.cafile) usage("--tls needs --cafile");
    if (option.resume && !option.tls) usage("--resume needs --tls");
    if (!option.cert != !option.key) usage("--cert and --key go together");
    if (option.password && option.password_file) usage("either --password or --password-file");
    if ((option.password || option.password_file) && !option.user && option.protocol == 4) {
        usage("a password needs --user");
    }
}

static void read_options(int count, char **words) {
    int name;
    while ((name = getopt_long(count, words, "", KNOWN, NULL)) != -1) set_option(name);
    if (optind < count) usage("options only");
    if (!option.filter) option.filter = option.topic;
    if (!window_told) option.window = option.rate > 0 ? (uint64_t)(option.rate * 60) + 2000 : 2000;
    if (option.task == STORM_RECONNECT && !filters_told) option.filters = 0;
    if (option.task == HANDSHAKES && !option.at_once) option.at_once = 1;
    if (option.task == HANDSHAKES || option.task == IDLE) option.subscribers = option.publishers = 0;
    check_options();
}

/* A descriptor for each connection, if the system lets us. */
static void raise_limits(void) {
    struct rlimit files;
    rlim_t wanted = (rlim_t)total + 64;
    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= wanted) return;
    if (files.rlim_max < wanted) die("%d connections, but `ulimit -Hn` is %ld", total, (long)files.rlim_max);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static void prepare_connection(struct connection *c, int index) {
    char name[512];
    bool alone = index >= option.subscribers + option.publishers;
    c->index = index;
    c->role = index < option.subscribers ? SUBSCRIBER : alone ? CROWD : PUBLISHER;
    c->number = index - (c->role == SUBSCRIBER ? 0 : option.subscribers) - (alone ? option.publishers : 0);
    c->poller = alone && option.publishers ? crowd_poller : poller;
    if (alone) return;
    expand(name, sizeof name, c->role == PUBLISHER ? option.topic : option.filter, c->number, index, 0);
    c->name = strdup(name);
    if (c->role == PUBLISHER) make_frame(c);
}

static void prepare(void) {
    int clients = option.task != HANDSHAKES ? option.count : option.clients ? option.clients : option.at_once;
    total = option.subscribers + option.publishers + clients;
    raise_limits();
    connections = zeroed((size_t)total, sizeof *connections);
    next_sequence = zeroed((size_t)option.subscribers * (pairs ? 1 : (size_t)option.publishers), sizeof *next_sequence);
    subscribers = connections;
    publishers = connections + option.subscribers;
    crowd = publishers + option.publishers;
    prepare_loop();
    for (int i = 0; i < total; i++) prepare_connection(&connections[i], i);
    if (option.password_file) read_passwords();
    if (option.tls) prepare_tls();
}

int main(int count, char **words) {
    static void (*const DOING[])(void) = {do_flow, do_handshakes, do_idle, do_storm_subscribe, do_storm_reconnect};
    signal(SIGPIPE, SIG_IGN); /* a write to a closed connection fails instead, and is reported */
    read_options(count, words);
    prepare();
    DOING[option.task]();
    return 0;
}
