/* Bytes in and out of a connection: sockets, TLS, and the tickets with which a TLS session is resumed. */

static SSL_CTX *tls;
static X509 *trusted;             /* the server's certificate, once it was verified */
static struct addrinfo *address;
static uint8_t scratch[READ_BYTES];
static bool tolerant;             /* a storm is on: a connection of the crowd may fail, and is tried again */
static bool leaving;              /* what is said last may find nobody */

static void mqtt_connect(struct connection *c);
static size_t mqtt_parse(struct connection *c, const uint8_t *data, size_t size, uint64_t arrived);

/* The connection is of no more use: the end of the run, unless it is one of a crowd that storms. */
__attribute__((format(printf, 2, 3))) static void fail(struct connection *c, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!leaving && !(tolerant && c->role == CROWD)) die("connection %d: %s", c->index, text);
    ERR_clear_error();
    c->broken = true;
}

/* --- out ---------------------------------------------------------------------------------------------------- */

static void watch(struct connection *c, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = c};
    if (c->awaits_write == write) return;
    c->awaits_write = write;
    if (epoll_ctl(c->poller, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
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
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) fail(c, "TLS write failed (%d)", error);
        return 0;
    }
    ssize_t written = send(c->fd, data, size, MSG_NOSIGNAL);
    if (written >= 0) return (size_t)written;
    if (errno != EAGAIN) fail(c, "write: %s", strerror(errno));
    return 0;
}

static void flush(struct connection *c) {
    while (c->out_from < c->out_to) {
        size_t written = write_some(c, c->out + c->out_from, c->out_to - c->out_from);
        if (!written) break;
        c->out_from += written;
    }
    if (c->out_from == c->out_to) c->out_from = c->out_to = 0;
    if (!c->broken) watch(c, c->out_to > 0);
}

/* --- in ----------------------------------------------------------------------------------------------------- */

/* Returns how much was read; 0 when there is nothing. */
static size_t read_some(struct connection *c, uint8_t *data, size_t size) {
    if (c->ssl) {
        int got = SSL_read(c->ssl, data, (int)size);
        if (got > 0) return (size_t)got;
        int error = SSL_get_error(c->ssl, got);
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
        fail(c, "the broker closed it (TLS error %d)", error);
        return 0;
    }
    ssize_t got = recv(c->fd, data, size, 0);
    if (got > 0) return (size_t)got;
    if (got < 0 && errno == EAGAIN) return 0;
    fail(c, "the broker closed it: %s", got ? strerror(errno) : "end of file");
    return 0;
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
        if (c->broken) return;
        size_t parsed = mqtt_parse(c, scratch, used, option.rate > 0 ? now() : 0);
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

/* --- TLS ---------------------------------------------------------------------------------------------------- */

static struct identity *read_identity(int index) {
    char cert[4096], key[4096];
    struct identity *identity = zeroed(1, sizeof *identity);
    expand(cert, sizeof cert, option.cert, index, index, 0);
    expand(key, sizeof key, option.key, index, index, 0);
    FILE *file = fopen(cert, "r");
    if (!file) die("%s: %s", cert, strerror(errno));
    identity->certificate = PEM_read_X509(file, NULL, NULL, NULL);
    identity->chain = sk_X509_new_null();
    if (!identity->certificate || !identity->chain) die("%s holds no certificate", cert);
    for (X509 *each; (each = PEM_read_X509(file, NULL, NULL, NULL));) sk_X509_push(identity->chain, each);
    fclose(file);
    ERR_clear_error(); /* it ended with "no more certificates" */
    file = fopen(key, "r");
    if (!file) die("%s: %s", key, strerror(errno));
    identity->key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    if (!identity->key) die("%s holds no key", key);
    fclose(file);
    return identity;
}

/* A server's certificate is verified in full once, and recognised after: who measures a server's handshakes
 * should not be busy with the same two signatures each time. The server still proves each time that it has the key. */
static int verify(X509_STORE_CTX *context, void *unused) {
    (void)unused;
    X509 *leaf = X509_STORE_CTX_get0_cert(context);
    if (trusted && !X509_cmp(leaf, trusted)) {
        X509_STORE_CTX_set_error(context, X509_V_OK);
        return 1;
    }
    if (X509_verify_cert(context) != 1) return 0;
    X509_free(trusted);
    X509_up_ref(leaf);
    trusted = leaf;
    return 1;
}

static int on_ticket(SSL *ssl, SSL_SESSION *session) {
    struct connection *c = SSL_get_app_data(ssl);
    SSL_SESSION_free(c->ticket);
    c->ticket = session;
    return 1; /* it is ours now */
}

static void prepare_tls(void) {
    int version = option.tls == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    tls = SSL_CTX_new(TLS_client_method());
    if (!tls) die("no TLS");
    SSL_CTX_set_min_proto_version(tls, version);
    SSL_CTX_set_max_proto_version(tls, version);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(tls, verify, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1);
    if (option.resume) {
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(tls, on_ticket);
    } else {
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    }
    if (SSL_CTX_load_verify_locations(tls, option.cafile, NULL) != 1) die("%s holds no CA", option.cafile);
    if (!option.cert) return;
    if (!varies(option.cert)) {
        if (SSL_CTX_use_certificate_chain_file(tls, option.cert) != 1) die("%s holds no certificate", option.cert);
        if (SSL_CTX_use_PrivateKey_file(tls, option.key, SSL_FILETYPE_PEM) != 1) die("%s holds no key", option.key);
        return;
    }
    for (int i = 0; i < total; i++) connections[i].identity = read_identity(i);
}

static void start_tls(struct connection *c) {
    const char *name = option.server_name ? option.server_name : option.host;
    const struct identity *identity = c->identity;
    struct in6_addr number;
    c->ssl = SSL_new(tls);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) die("no TLS");
    SSL_set_app_data(c->ssl, c);
    if (c->role == CROWD) SSL_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS); /* they are many, and silent */
    else SSL_set_default_read_buffer_len(c->ssl, 1 << 16);
    if (inet_pton(AF_INET, name, &number) == 1 || inet_pton(AF_INET6, name, &number) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), name);
    } else {
        SSL_set1_host(c->ssl, name);
        SSL_set_tlsext_host_name(c->ssl, name);
    }
    if (identity && SSL_use_cert_and_key(c->ssl, identity->certificate, identity->key, identity->chain, 1) != 1) {
        die("connection %d: its key does not fit its certificate", c->index);
    }
    if (c->ticket) {
        SSL_set_session(c->ssl, c->ticket);
        SSL_SESSION_free(c->ticket);
        c->ticket = NULL;
    }
    SSL_set_connect_state(c->ssl);
    c->stage = TLS_HANDSHAKE;
}

/* --- connections -------------------------------------------------------------------------------------------- */

/* Begin to connect; `due` is when it should have begun. */
static void start_connection(struct connection *c, uint64_t due) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    int on = 1;
    c->began = due;
    c->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->stage = TCP_CONNECT;
    c->awaits_write = true;
    if (connect(c->fd, address->ai_addr, address->ai_addrlen) && errno != EINPROGRESS) {
        fail(c, "connect: %s", strerror(errno));
    }
    if (epoll_ctl(c->poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

/* Take a connection from TCP over TLS to CONNECT. */
static void advance(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    if (c->stage == TCP_CONNECT) {
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            fail(c, "connect to %s port %s: %s", option.host, option.port, strerror(error));
            return;
        }
        if (tls) start_tls(c);
    }
    if (c->ssl) {
        errno = 0;
        int done = SSL_do_handshake(c->ssl);
        if (done != 1) {
            error = SSL_get_error(c->ssl, done);
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) watch(c, error == SSL_ERROR_WANT_WRITE);
            else fail(c, "the TLS handshake failed (TLS error %d, %s)", error, errno ? strerror(errno) : "end of file");
            return;
        }
        c->resumed = SSL_session_reused(c->ssl);
        /* A session of TLS 1.2 may be resumed again and again; a ticket of TLS 1.3 serves once, and new ones come. */
        if (c->resumed && option.tls == 12 && !c->ticket) c->ticket = SSL_get1_session(c->ssl);
        if (!*tls_version) {
            tls_version = SSL_get_version(c->ssl);
            tls_cipher = SSL_get_cipher(c->ssl);
        }
    }
    mqtt_connect(c);
}

/* Free what the connection holds; the client stays, with its ticket, and may connect again. */
static void close_connection(struct connection *c, bool reset) {
    struct linger none = {1, 0};
    if (c->stage == CLOSED) return;
    if (reset) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    if (c->ssl) SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* its session is still good */
    SSL_free(c->ssl);
    close(c->fd);
    c->ssl = NULL;
    c->stage = CLOSED;
    c->broken = c->awaits_write = false;
    c->out_from = c->out_to = c->rest_used = 0;
    c->subscribed = 0;
}

/* As a client that goes: DISCONNECT, close_notify, end of file. */
static void disconnect(struct connection *c) {
    static const uint8_t DISCONNECT[] = {0xe0, 0};
    if (c->stage >= AWAIT_SUBACK && !c->broken) {
        leaving = true;
        if (c->out_to) flush(c);
        if (c->ssl) {
            SSL_write(c->ssl, DISCONNECT, sizeof DISCONNECT);
            SSL_shutdown(c->ssl);
        } else if (send(c->fd, DISCONNECT, sizeof DISCONNECT, MSG_NOSIGNAL) < 0) {
            errno = 0;
        }
        ERR_clear_error();
        leaving = false;
    }
    close_connection(c, false);
}
