/* MQTT 3.1.1 and 5.0, what a client of a bench needs of it (chapter 3 of either standard). */

enum { PUBACK_BYTES = 4 };           /* without properties */

enum packet {
    CONNACK = 2, PUBLISH = 3, PUBACK = 4, PUBREC = 5, PUBREL = 6, PUBCOMP = 7, SUBACK = 9, DISCONNECTED = 14
};

static char **passwords;           /* the lines of --password-file */
static int password_count;
static uint32_t *next_sequence;    /* per subscriber and publisher that it hears */
static bool pairs;                 /* subscriber i hears publisher i alone; otherwise each hears all */
static bool cleaning;              /* everyone connects only to end an old session */
static struct histogram latency, storm_latency;
static uint64_t storm_began = UINT64_MAX, subacks;

/* --- out ---------------------------------------------------------------------------------------------------- */

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
}

static const char *password_of(const struct connection *c, char *text, size_t size) {
    if (passwords) return passwords[c->index];
    if (!option.password) return NULL;
    expand(text, size, option.password, c->index, c->index, 0);
    return text;
}

static void mqtt_connect(struct connection *c) {
    char id[256], user[256], text[4096];
    uint8_t body[16384], *at = body;
    const char *password = password_of(c, text, sizeof text);
    bool persistent = option.persistent && c->role == SUBSCRIBER && !cleaning;
    if (password && strlen(password) > 12000) die("connection %d: its password is too long", c->index);
    expand(id, sizeof id, option.client_id, c->index, c->index, 0);
    at = put_text(at, "MQTT");
    *at++ = (uint8_t)option.protocol;
    *at++ = (uint8_t)((persistent ? 0 : 2) | (option.user ? 128 : 0) | (password ? 64 : 0));
    at = put_number(at, KEEP_ALIVE_SECONDS);
    if (option.protocol == 5) {
        *at++ = persistent ? 5 : 0;
        if (persistent) {
            *at++ = 0x11; /* Session Expiry Interval, four bytes */
            at = put_number(put_number(at, 0), SESSION_SECONDS);
        }
    }
    at = put_text(at, id);
    if (option.user) {
        expand(user, sizeof user, option.user, c->index, c->index, 0);
        at = put_text(at, user);
    }
    if (password) at = put_text(at, password);
    send_body(c, 0x10, body, (size_t)(at - body));
    c->stage = AWAIT_CONNACK;
    flush(c);
}

static void subscribe(struct connection *c, const char *filter, int qos) {
    uint8_t body[600], *at;
    if (!++c->packet_id) c->packet_id = 1;
    at = put_number(body, c->packet_id);
    if (option.protocol == 5) *at++ = 0;
    at = put_text(at, filter);
    *at++ = (uint8_t)qos;
    send_body(c, 0x82, body, (size_t)(at - body));
    c->stage = AWAIT_SUBACK;
}

/* The next of the filters that this client of a crowd has for itself. */
static void subscribe_next(struct connection *c) {
    char filter[512];
    expand(filter, sizeof filter, option.storm_filter, c->number, c->index, c->subscribed);
    subscribe(c, filter, 0);
}

/* A PUBLISH is made once per publisher; each message patches its packet identifier and its mark. */
static void make_frame(struct connection *c) {
    size_t properties = option.protocol == 5 ? 1 : 0, id = option.qos ? 2 : 0;
    size_t length = 2 + strlen(c->name) + id + properties + option.payload;
    c->frame = grown(NULL, length + 5);
    c->frame[0] = (uint8_t)(0x30 | option.qos << 1);
    uint8_t *at = put_text(put_length(c->frame + 1, length), c->name);
    c->id_at = (size_t)(at - c->frame);
    c->mark_at = c->id_at + id + properties;
    c->frame_size = c->mark_at + option.payload;
    memset(c->frame + c->id_at, 0, id + properties);
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

static void answer(struct connection *c, uint8_t first, const uint8_t *id) {
    uint8_t *at = room(c, 4);
    at[0] = first;
    at[1] = 2;
    memcpy(at + 2, id, 2);
}

/* --- in ----------------------------------------------------------------------------------------------------- */

/* Returns where a variable byte integer ends, or 0 when it does not; its value goes to `length`. */
static size_t take_length(const uint8_t *data, size_t at, size_t size, size_t *length) {
    *length = 0;
    for (unsigned shift = 0; at < size; shift += 7) {
        if (shift > 21) die("a malformed length");
        *length |= (size_t)(data[at] & 127) << shift;
        if (!(data[at++] & 128)) return at;
    }
    return 0;
}

/* Returns where the properties of version 5 that begin at `at` end. */
static size_t skip_properties(const uint8_t *body, size_t at, size_t size) {
    size_t length, from;
    if (option.protocol != 5) return at;
    from = take_length(body, at, size, &length);
    if (!from || from + length > size) die("malformed properties");
    return from + length;
}

static void on_publish(struct connection *c, uint8_t first, const uint8_t *body, size_t size, uint64_t arrived) {
    int qos = first >> 1 & 3;
    struct mark mark;
    size_t id_at = 2 + (size >= 2 ? (size_t)body[0] << 8 | body[1] : 0);
    size_t at = skip_properties(body, id_at + (qos ? 2 : 0), size);
    if (c->role != SUBSCRIBER || size != at + option.payload || qos != option.qos) {
        die("an alien PUBLISH to connection %d: QoS %d, %zu bytes", c->index, qos, size);
    }
    if (qos) answer(c, qos == 1 ? 0x40 : 0x50, body + id_at);
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
    if (mark.nanoseconds) {
        uint64_t took = arrived > mark.nanoseconds ? arrived - mark.nanoseconds : 0;
        note(mark.nanoseconds < storm_began ? &latency : &storm_latency, took);
    }
}

/* A PUBACK, PUBREC or PUBCOMP: version 5 may say that the message was refused. */
static void check_answer(const struct connection *c, const uint8_t *body, size_t size) {
    if (size < 2 || c->role != PUBLISHER) die("an unexpected acknowledgement");
    if (size > 2 && body[2] >= 0x80) die("connection %d: a message was refused with reason %#x", c->index, body[2]);
}

static uint32_t property_size(const uint8_t *body, size_t at, size_t end) {
    switch (body[at]) { /* MQTT 5.0 section 2.2.2.2 */
    case 0x01: case 0x17: case 0x19: case 0x24: case 0x25: case 0x28: case 0x29: case 0x2a: return 1;
    case 0x13: case 0x21: case 0x22: case 0x23: return 2;
    case 0x02: case 0x11: case 0x18: case 0x27: return 4;
    default: break;
    }
    size_t first = at + 3 <= end ? 2 + ((size_t)body[at + 1] << 8 | body[at + 2]) : 0;
    if (body[at] != 0x26 || !first) return (uint32_t)first;
    at += first; /* a User Property is two texts */
    return (uint32_t)(at + 3 <= end ? first + 2 + ((size_t)body[at + 1] << 8 | body[at + 2]) : 0);
}

/* What a broker of version 5 allows: more in flight than its Receive Maximum would be a protocol error. */
static void check_connack_properties(const uint8_t *body, size_t size) {
    size_t length, at = take_length(body, 2, size, &length), end = at + length;
    if (!at || end != size) die("malformed properties of a CONNACK");
    while (at < end) {
        uint32_t value = property_size(body, at, end);
        if (!value || at + 1 + value > end) die("malformed properties of a CONNACK");
        if (body[at] == 0x21 && option.qos && ((uint32_t)body[at + 1] << 8 | body[at + 2]) < option.in_flight) {
            die("the broker takes %d unsettled messages only; --in-flight says %u", body[at + 1] << 8 | body[at + 2],
                option.in_flight);
        }
        if (body[at] == 0x24 && body[at + 1] < option.qos) die("the broker takes QoS %d only", body[at + 1]);
        at += 1 + value;
    }
}

static void become_ready(struct connection *c) {
    c->stage = READY;
    ready++;
}

static void on_connack(struct connection *c, const uint8_t *body, size_t size) {
    if (c->stage != AWAIT_CONNACK || size < 2) die("an unexpected CONNACK");
    if (body[1]) {
        fail(c, "refused with CONNACK code %d", body[1]);
        return;
    }
    if (option.protocol == 5) check_connack_properties(body, size);
    if (c->role == SUBSCRIBER && !cleaning) {
        if (option.persistent && body[0] & 1) die("the broker still has a session of client %d", c->index);
        subscribe(c, c->name, option.qos);
    } else if (c->role == CROWD && option.task == STORM_RECONNECT && option.filters) {
        subscribe_next(c);
    } else {
        become_ready(c);
    }
}

static void on_suback(struct connection *c, const uint8_t *body, size_t size) {
    size_t at = skip_properties(body, 2, size);
    int granted = c->role == SUBSCRIBER ? option.qos : 0;
    if (c->stage != AWAIT_SUBACK || size != at + 1) die("an unexpected SUBACK");
    if (body[at] != granted) die("connection %d: its subscription was answered with code %d", c->index, body[at]);
    if (c->role == CROWD) {
        subacks++;
        if (++c->subscribed < option.filters) {
            subscribe_next(c);
            return;
        }
    }
    become_ready(c);
}

static void on_packet(struct connection *c, uint8_t first, const uint8_t *body, size_t size, uint64_t arrived) {
    switch (first >> 4) {
    case PUBLISH: on_publish(c, first, body, size, arrived); return;
    case PUBACK:
    case PUBCOMP:
        check_answer(c, body, size);
        c->acked++;
        sum.acked++;
        return;
    case PUBREC:
        check_answer(c, body, size);
        answer(c, 0x62, body);
        return;
    case PUBREL:
        if (size < 2) die("a malformed PUBREL");
        answer(c, 0x70, body);
        sum.released++;
        return;
    case CONNACK: on_connack(c, body, size); return;
    case SUBACK: on_suback(c, body, size); return;
    case DISCONNECTED: fail(c, "the broker disconnected it with reason %#x", size ? body[0] : 0); return;
    default: die("an unexpected packet of type %d", first >> 4);
    }
}

/* Returns how many bytes were whole packets. */
static size_t mqtt_parse(struct connection *c, const uint8_t *data, size_t size, uint64_t arrived) {
    size_t from = 0;
    while (size - from >= 2) {
        size_t length, at = take_length(data, from + 1, size, &length);
        if (!at || size - at < length) return from;
        on_packet(c, data[from], data + at, length, arrived);
        from = at + length;
    }
    return from;
}

/* --- passwords, a line for each client ---------------------------------------------------------------------- */

static void read_passwords(void) {
    FILE *file = fopen(option.password_file, "r");
    char *line = NULL;
    size_t size = 0;
    if (!file) die("%s: %s", option.password_file, strerror(errno));
    passwords = zeroed((size_t)total, sizeof *passwords);
    while (password_count < total && getline(&line, &size, file) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        passwords[password_count++] = strdup(line);
    }
    if (password_count < total) {
        die("%s has %d lines for %d connections", option.password_file, password_count, total);
    }
    free(line);
    fclose(file);
}
