/* The loop: one turn handles what epoll tells of. The flow goes before a crowd, of which a turn takes a few. */

enum { CROWD_EVENTS = 16, CROWD_HANDSHAKES = 2 }; /* a turn's share: a TLS handshake takes this core for a while */

static const char crowd_mark, timer_mark;
static void (*on_ready)(struct connection *c);  /* a connection has got all that it connects for */
static void (*on_broken)(struct connection *c); /* one of a crowd that may fail did */

static void handle(struct connection *c, uint32_t events) {
    enum stage before = c->stage;
    if (before == CLOSED) return;
    if (before <= TLS_HANDSHAKE) {
        advance(c);
    } else {
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
        if (events & EPOLLOUT && !c->broken) flush(c);
    }
    if (c->broken) {
        if (before == READY) ready--;
        if (on_broken) on_broken(c);
    } else if (c->stage == READY && before != READY && on_ready) {
        on_ready(c);
    }
}

static int wait_for_events(int which, struct epoll_event *events, int most, int milliseconds) {
    int count = epoll_wait(which, events, most, milliseconds);
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    return count;
}

static void turn(int milliseconds) {
    struct epoll_event events[256];
    int count = wait_for_events(poller, events, 256, milliseconds);
    bool crowd_too = false;
    for (int i = 0; i < count; i++) {
        void *what = events[i].data.ptr;
        if (what == &timer_mark) {
            uint64_t ticks; /* it only has to wake us */
            if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timer: %s", strerror(errno));
        } else if (what == &crowd_mark) {
            crowd_too = true;
        } else {
            handle(what, events[i].events);
        }
    }
    if (!crowd_too) return;
    count = wait_for_events(crowd_poller, events, tls && ready < total ? CROWD_HANDSHAKES : CROWD_EVENTS, 0);
    for (int i = 0; i < count; i++) handle(events[i].data.ptr, events[i].events);
}

static void also_watch(int fd, const char *mark) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = (void *)(uintptr_t)mark};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static void prepare_loop(void) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int error = getaddrinfo(option.host, option.port, &hints, &address);
    if (error) die("%s: %s", option.host, gai_strerror(error));
    poller = epoll_create1(EPOLL_CLOEXEC);
    crowd_poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poller < 0 || crowd_poller < 0 || timer < 0) die("epoll: %s", strerror(errno));
    also_watch(timer, &timer_mark);
    also_watch(crowd_poller, &crowd_mark);
    prctl(PR_SET_TIMERSLACK, 1);
}

static struct timespec timespec_of(uint64_t nanoseconds) {
    return (struct timespec){(time_t)(nanoseconds / SECOND), (long)(nanoseconds % SECOND)};
}

/* Have the timer wake the loop when each of `rate` a second is due; many together when they come very fast. */
static void start_timer(uint64_t begin, double rate) {
    uint64_t interval = (uint64_t)(1e9 / rate);
    if (interval < 50000) interval = 50000;
    struct itimerspec every = {timespec_of(interval), timespec_of(begin + interval)};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &every, NULL)) die("timer: %s", strerror(errno));
}

/* Connect `count` connections from `first` on, some at once, and wait until all are ready. */
static void connect_range(struct connection *first, int count) {
    uint64_t begin = now();
    int at_once = option.at_once ? option.at_once : CONNECTING_AT_ONCE, started = 0;
    ready = 0;
    while (ready < count) {
        while (started < count && started - ready < at_once) start_connection(&first[started++], now());
        turn(100);
        if (seconds_since(begin) > CONNECT_SECONDS) {
            die("only %d of %d connections were ready after %d s", ready, count, CONNECT_SECONDS);
        }
    }
}
