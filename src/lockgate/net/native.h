/* What net/ calls in the C library and in GnuTLS (libgnutls.so.30, stable since 3.6.4): read by tools/native, which
   makes _native.py of it. No compiler is needed, neither to install nor to run. Source: recvmmsg(2), sendto(2),
   sendmsg(2) of glibc; gnutls/gnutls.h and gnutls/dtls.h. */

/* Sockets. Pointers to bytes are char*, so that Python's bytes can be passed. */
typedef unsigned int socklen_t;
struct iovec { char *iov_base; size_t iov_len; };
struct msghdr {
    char *msg_name; socklen_t msg_namelen;
    struct iovec *msg_iov; size_t msg_iovlen;
    char *msg_control; size_t msg_controllen;
    int msg_flags;
};
struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
int recvmmsg(int socket, struct mmsghdr *messages, unsigned int count, int flags, void *timeout);
ssize_t sendto(int socket, const char *data, size_t size, int flags, const char *name, socklen_t name_size);
ssize_t sendmsg(int socket, const struct msghdr *message, int flags);
void *malloc(size_t size);
void free(void *memory);

/* GnuTLS */
typedef struct { unsigned char *data; unsigned int size; } gnutls_datum_t;
typedef struct { unsigned int record_seq, hsk_read_seq, hsk_write_seq; } gnutls_dtls_prestate_st;
typedef void *gnutls_session_t;
typedef void *gnutls_psk_server_credentials_t;
typedef void *gnutls_certificate_credentials_t;
typedef void *gnutls_priority_t;
typedef ssize_t (*gnutls_push_func)(void *, const char *, size_t);
typedef ssize_t (*gnutls_pull_func)(void *, char *, size_t);
typedef int (*gnutls_pull_timeout_func)(void *, unsigned int);
typedef int gnutls_psk_server_credentials_function2(gnutls_session_t, const gnutls_datum_t *, gnutls_datum_t *);
typedef int gnutls_certificate_verify_function(gnutls_session_t);

const char *gnutls_check_version(const char *wanted);
const char *gnutls_strerror(int error);
const char *gnutls_alert_get_name(int alert);
int gnutls_error_is_fatal(int error);

int gnutls_init(gnutls_session_t *, unsigned int flags);
void gnutls_deinit(gnutls_session_t);
int gnutls_handshake(gnutls_session_t);
int gnutls_bye(gnutls_session_t, int how);
ssize_t gnutls_record_send(gnutls_session_t, const char *data, size_t size);
ssize_t gnutls_record_recv(gnutls_session_t, char *data, size_t size);
int gnutls_alert_send(gnutls_session_t, int level, int alert);
int gnutls_alert_send_appropriate(gnutls_session_t, int error);
int gnutls_alert_get(gnutls_session_t);
void gnutls_handshake_set_max_packet_length(gnutls_session_t, size_t bytes);

int gnutls_priority_init(gnutls_priority_t *, const char *text, const char **error_at);
void gnutls_priority_deinit(gnutls_priority_t);
int gnutls_priority_set(gnutls_session_t, gnutls_priority_t);
int gnutls_credentials_set(gnutls_session_t, int kind, void *credentials);
int gnutls_cipher_get(gnutls_session_t);
int gnutls_kx_get(gnutls_session_t);
int gnutls_mac_get(gnutls_session_t);
int gnutls_group_get(gnutls_session_t);
const char *gnutls_cipher_suite_get_name(int kx, int cipher, int mac);
const char *gnutls_group_get_name(int group);

int gnutls_psk_allocate_server_credentials(gnutls_psk_server_credentials_t *);
void gnutls_psk_set_server_credentials_function2(gnutls_psk_server_credentials_t,
                                                 gnutls_psk_server_credentials_function2 *);
int gnutls_certificate_allocate_credentials(gnutls_certificate_credentials_t *);
void gnutls_certificate_free_credentials(gnutls_certificate_credentials_t);
int gnutls_certificate_set_x509_key_mem2(gnutls_certificate_credentials_t, const gnutls_datum_t *certificate,
                                         const gnutls_datum_t *key, int format, const char *password,
                                         unsigned int flags);
int gnutls_certificate_set_rawpk_key_mem(gnutls_certificate_credentials_t, const gnutls_datum_t *spki,
                                         const gnutls_datum_t *key, int format, const char *password,
                                         unsigned int key_usage, const char **names, unsigned int names_count,
                                         unsigned int flags);
void gnutls_certificate_set_verify_function(gnutls_certificate_credentials_t, gnutls_certificate_verify_function *);
void gnutls_certificate_server_set_request(gnutls_session_t, int request);
const gnutls_datum_t *gnutls_certificate_get_peers(gnutls_session_t, unsigned int *count);

int gnutls_dtls_cookie_send(gnutls_datum_t *key, const char *client, size_t client_size, gnutls_dtls_prestate_st *,
                            void *transport, gnutls_push_func);
int gnutls_dtls_cookie_verify(gnutls_datum_t *key, const char *client, size_t client_size, const char *message,
                              size_t message_size, gnutls_dtls_prestate_st *);
void gnutls_dtls_prestate_set(gnutls_session_t, gnutls_dtls_prestate_st *);
void gnutls_dtls_set_mtu(gnutls_session_t, unsigned int bytes);
void gnutls_dtls_set_timeouts(gnutls_session_t, unsigned int retransmission_ms, unsigned int total_ms);
unsigned int gnutls_dtls_get_timeout(gnutls_session_t);

void gnutls_transport_set_ptr(gnutls_session_t, void *);
void gnutls_transport_set_push_function(gnutls_session_t, gnutls_push_func);
void gnutls_transport_set_pull_function(gnutls_session_t, gnutls_pull_func);
void gnutls_transport_set_pull_timeout_function(gnutls_session_t, gnutls_pull_timeout_func);
void gnutls_transport_set_errno(gnutls_session_t, int);
