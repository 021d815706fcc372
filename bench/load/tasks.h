/* The tasks of --do: each connects, says "warm" for --steps, measures, and prints its line. */

static void connect_all(void) { connect_range(connections, total); }

static void disconnect_all(void) {
    for (int i = 0; i < total; i++) disconnect(&connections[i]);
}

/* End the sessions that subscribers have, or had in an earlier run: a clean connection is the way to do it. */
static void clean_sessions(void) {
    cleaning = true;
    connect_range(subscribers, option.subscribers);
    for (int i = 0; i < option.subscribers; i++) disconnect(&subscribers[i]);
    cleaning = false;
}

/* After a result: how many messages to publish once more ("again N"); 0 when it is to end. */
static uint64_t asked_again(void) {
    char line[64];
    uint64_t messages = 0;
    return fgets(line, sizeof line, stdin) && sscanf(line, "again %" SCNu64, &messages) == 1 ? messages : 0;
}

/* The same connections once more, for someone who changed what they may hear: how much of it was delivered? */
static void run_again(void) {
    uint64_t messages;
    option.stall_seconds = 0.3;
    while ((messages = asked_again()) > 0) {
        uint64_t before = sum.delivered;
        run_flow(messages, 0);
        printf("{\"delivered\": %" PRIu64 "}\n", sum.delivered - before);
        fflush(stdout);
    }
}

static void do_flow(void) {
    if (option.persistent) clean_sessions();
    uint64_t begin = now();
    connect_all();
    double connecting = seconds_since(begin);
    warm_up();
    if (option.steps) say("warm", true);
    start_measuring();
    run_flow(option.messages ? option.messages : UINT64_MAX, option.seconds);
    stop_measuring();
    print_result(connecting);
    print_flow();
    if (latency.count) print_histogram("latency_microseconds", &latency);
    if (lag.count) print_histogram("lag_microseconds", &lag);
    end_result();
    if (option.steps) run_again();
    disconnect_all();
    if (option.persistent) clean_sessions();
}

/* --- handshakes --------------------------------------------------------------------------------------------- */

static struct connection **waiting; /* the clients that may connect again: a ring */
static int waiting_from, waiting_count;
static uint64_t completed, resumed;

static void put_waiting(struct connection *c) { waiting[(waiting_from + waiting_count++) % total] = c; }

static void on_handshake(struct connection *c) {
    note(&latency, now() - c->began);
    completed++;
    resumed += c->resumed;
    ready--;
    disconnect(c);
    put_waiting(c);
}

/* Connect and disconnect `count` times; `rate` a second, or as fast as it goes with --at-once clients. */
static void run_handshakes(uint64_t count, double rate) {
    uint64_t begin = now(), started = 0, moved = 0, moved_at = begin;
    completed = resumed = 0;
    memset(&latency, 0, sizeof latency);
    if (rate > 0) start_timer(begin, rate);
    while (completed < count) {
        uint64_t time = now();
        while (started < count && total - waiting_count < option.at_once) {
            uint64_t due = rate > 0 ? begin + (uint64_t)((double)started / rate * 1e9) : now();
            if (rate > 0 && due > time) break;
            struct connection *c = waiting[waiting_from];
            waiting_from = (waiting_from + 1) % total;
            waiting_count--;
            start_connection(c, due);
            started++;
        }
        turn(20);
        if (completed != moved) {
            moved = completed;
            moved_at = time;
        } else if (time > moved_at + CONNECT_SECONDS * SECOND) {
            die("only %" PRIu64 " of %" PRIu64 " handshakes were completed", completed, count);
        }
    }
}

static void do_handshakes(void) {
    waiting = zeroed((size_t)total, sizeof *waiting);
    for (int i = 0; i < total; i++) put_waiting(&crowd[i]);
    on_ready = on_handshake;
    uint64_t begin = now();
    run_handshakes((uint64_t)total, 0); /* the warm-up: everyone once, which also earns a first ticket */
    double connecting = seconds_since(begin);
    if (option.steps) say("warm", true);
    start_measuring();
    run_handshakes((uint64_t)option.count, option.rate);
    stop_measuring();
    print_result(connecting);
    printf(", \"at_once\": %d, \"completed\": %" PRIu64 ", ", option.at_once, completed);
    printf("\"per_second\": %.1f, \"resumed\": %" PRIu64 ", ", (double)completed / measured.elapsed, resumed);
    printf("\"cpu_microseconds_each\": %.1f", measured.cpu / (double)completed * 1e6);
    print_histogram("connack_microseconds", &latency);
    end_result();
    if (option.steps) wait_for_line();
    if (option.resume && (double)resumed < RESUMED_SHARE * (double)completed) {
        die("only %" PRIu64 " of %" PRIu64 " handshakes resumed a session", resumed, completed);
    }
}

/* --- idle --------------------------------------------------------------------------------------------------- */

static void do_idle(void) {
    if (option.steps) say("warm", true);
    start_measuring();
    connect_all();
    stop_measuring();
    say("idle", true);
    turn(0); /* whoever was closed meanwhile is found here */
    print_result(measured.elapsed);
    printf(", \"per_second\": %.1f", (double)total / measured.elapsed);
    end_result();
    if (option.steps) wait_for_line();
    disconnect_all();
}

/* --- storms ------------------------------------------------------------------------------------------------- */

static int *retries; /* indexes of the crowd that failed, in the order in which they are to try again: a ring */
static int retries_from, retries_count;
static uint64_t failed_attempts;
static double quiet_seconds, storm_seconds;

/* Warm up with everyone connected, and let the flow go on quietly. */
static double begin_quiet(void) {
    uint64_t begin = now();
    connect_all();
    double connecting = seconds_since(begin);
    warm_up();
    if (option.steps) say("warm", true);
    start_measuring();
    start_flow(UINT64_MAX, 0);
    uint64_t quiet_end = now() + (uint64_t)(option.seconds * 1e9);
    while (now() < quiet_end) {
        if (!step_flow(20)) die("the flow stood still before the storm");
    }
    quiet_seconds = seconds_since(measured.begin);
    return connecting;
}

/* Let the storm go on until everyone is ready; `push` starts a few more, and says how many. */
static void run_storm(int (*push)(void)) {
    double cpu = own_cpu_seconds();
    storm_began = now();
    ready -= option.count;
    while (ready < total) {
        if (!step_flow(push() ? 0 : 1)) die("the flow stood still in the storm");
        if (seconds_since(storm_began) > CONNECT_SECONDS) {
            die("the storm was not over after %d s: %d are left", CONNECT_SECONDS, total - ready);
        }
    }
    storm_seconds = seconds_since(storm_began);
    measured.storm_share = (own_cpu_seconds() - cpu) / storm_seconds;
    end_flow();
    stop_measuring();
}

static void print_storm(double connecting) {
    print_result(connecting);
    print_flow();
    printf(", \"count\": %d, \"filters\": %u, \"subacks\": %" PRIu64, option.count, option.filters, subacks);
    printf(", \"quiet_seconds\": %.4f, \"storm_seconds\": %.4f", quiet_seconds, storm_seconds);
    printf(", \"storm_cpu_share\": %.4f, \"per_second\": %.1f", measured.storm_share,
           (option.task == STORM_SUBSCRIBE ? (double)subacks : (double)option.count) / storm_seconds);
    if (option.task == STORM_RECONNECT) {
        printf(", \"failed_attempts\": %" PRIu64 ", \"resumed\": %" PRIu64, failed_attempts, resumed);
    }
    print_histogram("quiet_microseconds", &latency);
    print_histogram("storm_microseconds", &storm_latency);
    print_histogram("lag_microseconds", &lag);
    end_result();
    if (option.steps) wait_for_line();
    disconnect_all();
}

static int storm_from; /* how many of the crowd have begun */

/* Whether one more of the crowd may begin: --at-once and --storm-rate hold it back. */
static bool may_begin(void) {
    int under_way = storm_from - (option.count - (total - ready));
    if (storm_from == option.count || (option.at_once && under_way >= option.at_once)) return false;
    return option.storm_rate <= 0 || seconds_since(storm_began) * option.storm_rate >= storm_from;
}

/* A few more of the crowd subscribe; each goes on with its next filter when it has the answer. */
static int push_subscribers(void) {
    int started = 0;
    for (; started < CROWD_EVENTS && may_begin(); started++) {
        struct connection *c = &crowd[storm_from++];
        subscribe_next(c);
        flush(c);
    }
    return started;
}

static void do_storm_subscribe(void) {
    double connecting = begin_quiet();
    subacks = 0;
    run_storm(push_subscribers);
    print_storm(connecting);
}

static void retry_later(struct connection *c) {
    failed_attempts++;
    close_connection(c, true);
    c->retry_at = now() + (uint64_t)(option.retry_seconds * 1e9);
    retries[(retries_from + retries_count++) % option.count] = c->number;
}

static void on_returned(struct connection *c) { resumed += c->resumed; }

/* A few more of the crowd connect again: those that have not yet, then those whose attempt failed. */
static int push_connections(void) {
    uint64_t time = now();
    int started = 0;
    for (; started < (tls ? CROWD_HANDSHAKES : CROWD_EVENTS); started++) {
        struct connection *c;
        if (may_begin()) {
            c = &crowd[storm_from++];
        } else if (retries_count && crowd[retries[retries_from]].retry_at <= time) {
            c = &crowd[retries[retries_from]];
            retries_from = (retries_from + 1) % option.count;
            retries_count--;
        } else {
            break;
        }
        start_connection(c, time);
        if (c->broken) retry_later(c);
    }
    return started;
}

/* All of the crowd drop at once, as when a network goes; a few in each turn, so that the flow is not ours to blame. */
static int drop_then_push(void) {
    static int dropped;
    int now_dropped = 0;
    for (; now_dropped < CROWD_EVENTS && dropped < option.count; now_dropped++) {
        close_connection(&crowd[dropped++], option.reset);
    }
    if (now_dropped) return now_dropped;
    tolerant = true; /* from here on the broker may be too busy for one of them */
    return push_connections();
}

static void do_storm_reconnect(void) {
    double connecting = begin_quiet();
    retries = zeroed((size_t)option.count, sizeof *retries);
    subacks = resumed = 0;
    on_broken = retry_later;
    on_ready = on_returned;
    run_storm(drop_then_push);
    tolerant = false;
    print_storm(connecting);
}
