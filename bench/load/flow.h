/* The flow: publishers that send what their windows, or a rate, allow, and subscribers that must get it all. */

static struct {
    uint64_t begin, end, messages;        /* when it began; when to publish no more; and after how many */
    uint64_t sent_before, moved, moved_at;
} flow;
static struct histogram lag;              /* how late we published, after the time that --rate set */

static uint64_t expected(void) { return pairs ? sum.sent : sum.sent * (uint64_t)option.subscribers; }

static bool settled(void) {
    if (sum.delivered + sum.missing < expected() || (option.qos && sum.acked < sum.sent)) return false;
    return option.qos < 2 || sum.released >= sum.delivered;
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
        return slots < option.refill ? 0 : free < slots ? free : slots;
    }
    /* A flood refills its window in quarters, as it would a socket's buffer: not message by message. */
    if (option.rate <= 0 && free < option.window / 4) return 0;
    if (pairs || !free) return free;
    if (option.at_most > 0 && free > option.window / 4) free = option.window / 4; /* writes as short as the flood's */
    return free / (uint64_t)option.publishers + 1;
}

/* How many messages --at-most allows now: a millisecond's worth, or none. */
static uint64_t allowed_now(uint64_t time, uint64_t done) {
    uint64_t allowed = (uint64_t)((double)(time - flow.begin) * 1e-9 * option.at_most);
    return allowed > done && allowed - done >= (uint64_t)(option.at_most / 1000) ? allowed - done : 0;
}

static uint64_t due_time(uint64_t number) { return flow.begin + (uint64_t)((double)number / option.rate * 1e9); }

/* Publish what the windows and `left` allow, the publishers taking turns. */
static void publish_allowed(uint64_t left, uint64_t time) {
    static int turn_of;
    uint64_t settled = pairs ? 0 : settled_by_all(), published = 0;
    int first = turn_of;
    if (!pairs && sum.sent - settled >= option.window) return;
    for (int i = 0; i < option.publishers && published < left; i++) {
        struct connection *c = &publishers[(first + i) % option.publishers];
        uint64_t count = allowance(c, settled);
        if (count > left - published) count = left - published;
        if (option.rate > 0 && count > 1 && option.publishers > 1) count = 1;
        for (uint64_t k = 0; k < count; k++) {
            /* A message carries the time at which it was due, not when we came to it. */
            uint64_t due = option.rate > 0 ? due_time(sum.sent - flow.sent_before) : 0;
            if (due) note(&lag, time > due ? time - due : 0);
            publish(c, due);
        }
        if (!count) continue;
        flush(c);
        published += count;
        turn_of = (first + i + 1) % option.publishers;
    }
}

/* Have publishers woken by so many acknowledgements, and not by each: --refill of a QoS 1 flow over plain TCP. */
static void wake_publishers_after(uint32_t acknowledgements) {
    static uint32_t last = 1;
    int bytes = (int)acknowledgements * PUBACK_BYTES;
    if (acknowledgements == last || option.qos != 1 || option.tls || option.rate > 0) return;
    last = acknowledgements;
    for (int i = 0; i < option.publishers; i++) {
        if (setsockopt(publishers[i].fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes)) die("SO_RCVLOWAT");
    }
}

static void start_flow(uint64_t messages, double seconds) {
    flow.begin = flow.moved_at = now();
    flow.sent_before = sum.sent;
    flow.moved = sum.delivered + sum.acked;
    flow.messages = messages;
    flow.end = seconds > 0 ? flow.begin + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    if (option.rate > 0) {
        /* What was due within the time is published, however late. */
        if (seconds > 0) flow.messages = (uint64_t)(seconds * option.rate);
        flow.end = UINT64_MAX;
        start_timer(flow.begin, option.rate);
    }
    if (option.at_most > 0) start_timer(flow.begin, 1000);
    wake_publishers_after(option.refill);
}

/* One turn of the flow. Returns false when all is delivered, or nothing moves any more. */
static bool step_flow(int milliseconds) {
    uint64_t time = now(), done = sum.sent - flow.sent_before;
    uint64_t left = time < flow.end && done < flow.messages ? flow.messages - done : 0;
    if (!left) wake_publishers_after(1); /* fewer may be left */
    if (!left && settled()) return false;
    if (left && option.rate > 0) {
        uint64_t due = (uint64_t)((double)(time - flow.begin) * 1e-9 * option.rate + 1e-3) + 1;
        left = due <= done ? 0 : due - done < left ? due - done : left;
    }
    if (left && option.at_most > 0) {
        uint64_t allowed = allowed_now(time, done);
        if (left > allowed) left = allowed;
    }
    if (left) publish_allowed(left, time);
    turn(milliseconds);
    if (sum.delivered + sum.acked != flow.moved || settled()) {
        flow.moved = sum.delivered + sum.acked;
        flow.moved_at = time;
    }
    return time <= flow.moved_at + (uint64_t)(option.stall_seconds * 1e9);
}

/* Publish no more, and wait until all is delivered or nothing moves any more. */
static void end_flow(void) {
    flow.messages = 0;
    while (step_flow(20)) continue;
}

/* Publish `messages`, or for `seconds`, and wait until all is delivered or nothing moves any more. */
static void run_flow(uint64_t messages, double seconds) {
    start_flow(messages, seconds);
    while (step_flow(20)) continue;
}

/* Warm up: whatever was lost then would be counted later. */
static void warm_up(void) {
    run_flow(option.warm_up, 0);
    if (expected() != sum.delivered) {
        die("%" PRIu64 " messages of the warm-up were lost", expected() - sum.delivered);
    }
    memset(&latency, 0, sizeof latency);
    memset(&lag, 0, sizeof lag);
}

/* --- the result --------------------------------------------------------------------------------------------- */

static struct {
    struct totals before;
    double cpu, elapsed, storm_share;
    uint64_t begin;
} measured;

static void start_measuring(void) {
    measured.before = sum;
    measured.cpu = own_cpu_seconds();
    measured.begin = now();
}

static void stop_measuring(void) {
    measured.elapsed = seconds_since(measured.begin);
    measured.cpu = own_cpu_seconds() - measured.cpu;
}

/* The fields that every task has, without the brace that ends them. */
static void print_result(double connecting) {
    double share = measured.cpu / measured.elapsed;
    bool saturated = share > SATURATED_SHARE || measured.storm_share > SATURATED_SHARE;
    printf("{\"do\": \"%s\", \"protocol\": \"%s\", ", TASKS[option.task], option.protocol == 5 ? "5.0" : "3.1.1");
    printf("\"tls\": \"%s\", \"cipher\": \"%s\", ", tls_version, tls_cipher);
    printf("\"connections\": %d, \"connect_seconds\": %.4f, ", total, connecting);
    printf("\"lost\": %" PRIu64 ", \"duplicates\": %" PRIu64 ", ", expected() - sum.delivered, sum.duplicates);
    printf("\"elapsed_seconds\": %.6f, \"cpu_seconds\": %.6f, ", measured.elapsed, measured.cpu);
    printf("\"cpu_share\": %.4f, \"saturated\": %s", share, saturated ? "true" : "false");
}

static void print_flow(void) {
    uint64_t delivered = sum.delivered - measured.before.delivered;
    printf(", \"subscribers\": %d, \"publishers\": %d, ", option.subscribers, option.publishers);
    printf("\"qos\": %d, \"payload_bytes\": %u, ", option.qos, option.payload);
    printf("\"in_flight\": %u, \"session\": \"%s\", ", option.in_flight, option.persistent ? "persistent" : "clean");
    printf("\"published\": %" PRIu64 ", \"delivered\": %" PRIu64 ", ", sum.sent - measured.before.sent, delivered);
    printf("\"acked\": %" PRIu64 ", ", sum.acked - measured.before.acked);
    printf("\"delivered_per_second\": %.1f", (double)delivered / measured.elapsed);
}

static void end_result(void) {
    puts("}");
    fflush(stdout);
}
