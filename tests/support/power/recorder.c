/* Records what a process does to the files under one folder: for tests of power cuts.
 *
 * Preloaded (LD_PRELOAD) with RECORD_UNDER=FOLDER and RECORD_LOG=FILE in the environment. Every write, truncation,
 * sync, creation, link, renaming and unlinking below FOLDER is done, and then appended to FILE as one record: a header,
 * then `length` bytes of content or name, then `second_length` bytes of a second name. Times are CLOCK_MONOTONIC.
 * tests/support/power/disk.py reads it. While the file FULL_WHEN (if it is named) exists, the disk is full: nothing
 * can be written below FOLDER.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { OPENED = 1, WRITTEN, TRUNCATED, SYNC_BEGUN, SYNC_ENDED, UNLINKED, RENAMED, LINKED };

struct header {
    uint64_t handle;
    int64_t offset;
    uint64_t time_ns;
    uint32_t kind, length, second_length, pad;
};

enum { MAX_DESCRIPTORS = 65536 };

static uint64_t handles[MAX_DESCRIPTORS]; /* what a descriptor is, 0: none of ours */
static uint64_t last_handle;
static char folder[4096];
static size_t folder_length;
static const char *full_when;
static int log_descriptor = -1;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *under = getenv("RECORD_UNDER"), *path = getenv("RECORD_LOG");
    if (!under || !path || strlen(under) >= sizeof folder) return;
    full_when = getenv("FULL_WHEN");
    strcpy(folder, under);
    folder_length = strlen(folder);
    last_handle = (uint64_t)getpid() << 32;
    log_descriptor = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The name below the folder ("" for the folder itself), NULL for what is elsewhere. */
static const char *name_below(int directory, const char *path, char *space, size_t size) {
    if (log_descriptor < 0 || !path) return NULL;
    if (path[0] != '/') {
        char here[2048];
        if (directory != AT_FDCWD || !getcwd(here, sizeof here)) return NULL;
        if ((size_t)snprintf(space, size, "%s/%s", here, path) >= size) return NULL;
        path = space;
    }
    if (strncmp(path, folder, folder_length)) return NULL;
    if (path[folder_length] == 0) return path + folder_length;
    return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

static void note(enum kind kind, uint64_t handle, int64_t offset, const struct iovec *content, int parts,
                 const char *second) {
    struct timespec now;
    struct header header = {.handle = handle, .offset = offset, .kind = kind};
    struct iovec all[64];
    if (parts > 60) abort();
    clock_gettime(CLOCK_MONOTONIC, &now);
    header.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    size_t total = sizeof header;
    for (int i = 0; i < parts; i++) {
        all[i + 1] = content[i];
        header.length += (uint32_t)content[i].iov_len;
        total += content[i].iov_len;
    }
    if (second) {
        header.second_length = (uint32_t)strlen(second);
        all[++parts] = (struct iovec){(void *)second, header.second_length};
        total += header.second_length;
    }
    all[0] = (struct iovec){&header, sizeof header};
    int kept = errno;
    if (REAL(writev)(log_descriptor, all, parts + 1) != (ssize_t)total) abort();
    errno = kept;
}

static void note_name(enum kind kind, uint64_t handle, int64_t offset, const char *name, const char *second) {
    struct iovec content = {(void *)name, strlen(name)};
    note(kind, handle, offset, &content, 1, second);
}

static uint64_t handle_of(int descriptor) {
    return descriptor >= 0 && descriptor < MAX_DESCRIPTORS ? handles[descriptor] : 0;
}

static void opened(int descriptor, const char *name, int flags) {
    if (descriptor < 0 || descriptor >= MAX_DESCRIPTORS) return;
    handles[descriptor] = 0;
    if (!name) return;
    handles[descriptor] = ++last_handle;
    note_name(OPENED, last_handle, (flags & O_TRUNC) != 0, name, NULL);
}

#define OPEN(NAME, HEAD, ARGUMENTS, DIRECTORY)                                \
    int NAME HEAD {                                                           \
        char space[8192];                                                     \
        mode_t mode = 0;                                                      \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                \
            va_list rest;                                                     \
            va_start(rest, flags);                                            \
            mode = va_arg(rest, mode_t);                                      \
            va_end(rest);                                                     \
        }                                                                     \
        pthread_mutex_lock(&lock);                                            \
        int descriptor = REAL(NAME) ARGUMENTS;                                \
        opened(descriptor, name_below(DIRECTORY, path, space, sizeof space), flags); \
        pthread_mutex_unlock(&lock);                                          \
        return descriptor;                                                    \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int directory, const char *path, int flags, ...), (directory, path, flags, mode), directory)
OPEN(openat64, (int directory, const char *path, int flags, ...), (directory, path, flags, mode), directory)

int close(int descriptor) {
    if (descriptor >= 0 && descriptor < MAX_DESCRIPTORS) handles[descriptor] = 0;
    return REAL(close)(descriptor);
}

static int is_full(void) {
    int kept = errno;
    if (!full_when || access(full_when, F_OK)) {
        errno = kept;
        return 0;
    }
    errno = ENOSPC;
    return 1;
}

static ssize_t written(ssize_t done, int descriptor, int64_t offset, const void *content) {
    if (done > 0) {
        struct iovec part = {(void *)content, (size_t)done};
        note(WRITTEN, handles[descriptor], offset, &part, 1, NULL);
    }
    return done;
}

/* Where the next write() of this descriptor lands. */
static int64_t position(int descriptor) {
    int is_appending = fcntl(descriptor, F_GETFL) & O_APPEND;
    return is_appending ? lseek(descriptor, 0, SEEK_END) : lseek(descriptor, 0, SEEK_CUR);
}

ssize_t write(int descriptor, const void *content, size_t length) {
    if (!handle_of(descriptor)) return REAL(write)(descriptor, content, length);
    if (is_full()) return -1;
    pthread_mutex_lock(&lock);
    int64_t offset = position(descriptor);
    ssize_t done = written(REAL(write)(descriptor, content, length), descriptor, offset, content);
    pthread_mutex_unlock(&lock);
    return done;
}

#define PWRITE(NAME, OFFSET)                                                                        \
    ssize_t NAME(int descriptor, const void *content, size_t length, OFFSET offset) {               \
        if (!handle_of(descriptor)) return REAL(NAME)(descriptor, content, length, offset);         \
        if (is_full()) return -1;                                                                   \
        pthread_mutex_lock(&lock);                                                                  \
        ssize_t done = REAL(NAME)(descriptor, content, length, offset);                             \
        done = written(done, descriptor, offset, content);                                          \
        pthread_mutex_unlock(&lock);                                                                \
        return done;                                                                                \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    if (!handle_of(descriptor)) return REAL(writev)(descriptor, parts, count);
    ssize_t done = 0; /* one by one: allowed, and exact where one is cut short */
    for (int i = 0; i < count; i++) {
        ssize_t part = write(descriptor, parts[i].iov_base, parts[i].iov_len);
        if (part < 0) return done ? done : part;
        done += part;
        if ((size_t)part < parts[i].iov_len) break;
    }
    return done;
}

#define TRUNCATE(NAME, OFFSET)                                                    \
    int NAME(int descriptor, OFFSET length) {                                     \
        if (!handle_of(descriptor)) return REAL(NAME)(descriptor, length);        \
        pthread_mutex_lock(&lock);                                                \
        int failed = REAL(NAME)(descriptor, length);                              \
        if (!failed) note(TRUNCATED, handles[descriptor], length, NULL, 0, NULL); \
        pthread_mutex_unlock(&lock);                                              \
        return failed;                                                            \
    }

TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(NAME)                                              \
    int NAME(int descriptor) {                                  \
        uint64_t handle = handle_of(descriptor);                \
        if (!handle) return REAL(NAME)(descriptor);             \
        pthread_mutex_lock(&lock);                              \
        note(SYNC_BEGUN, handle, 0, NULL, 0, NULL);             \
        pthread_mutex_unlock(&lock);                            \
        int failed = REAL(NAME)(descriptor);                    \
        pthread_mutex_lock(&lock);                              \
        if (!failed) note(SYNC_ENDED, handle, 0, NULL, 0, NULL); \
        pthread_mutex_unlock(&lock);                            \
        return failed;                                          \
    }

SYNC(fsync)
SYNC(fdatasync)

static int unlinked(int failed, int directory, const char *path) {
    char space[8192];
    const char *name = name_below(directory, path, space, sizeof space);
    if (!failed && name) note_name(UNLINKED, 0, 0, name, NULL);
    return failed;
}

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    int failed = unlinked(REAL(unlink)(path), AT_FDCWD, path);
    pthread_mutex_unlock(&lock);
    return failed;
}

int unlinkat(int directory, const char *path, int flags) {
    pthread_mutex_lock(&lock);
    int failed = unlinked(REAL(unlinkat)(directory, path, flags), directory, path);
    pthread_mutex_unlock(&lock);
    return failed;
}

static int moved(int failed, enum kind kind, const char *from, const char *to) {
    char space[8192], more[8192];
    const char *old = name_below(AT_FDCWD, from, space, sizeof space);
    const char *new = name_below(AT_FDCWD, to, more, sizeof more);
    if (!failed && old && new) note_name(kind, 0, 0, old, new);
    return failed;
}

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    int failed = moved(REAL(rename)(from, to), RENAMED, from, to);
    pthread_mutex_unlock(&lock);
    return failed;
}

int link(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    int failed = moved(REAL(link)(from, to), LINKED, from, to);
    pthread_mutex_unlock(&lock);
    return failed;
}
