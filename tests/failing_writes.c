/* Preloaded into a process: counts what it does to files below one folder, and fails one of these.

   The settings are in a file that all processes of a command map, so that their counts are one.
   Built and used by failing_writes.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NONE, FULL, BROKEN, DENIED, KILL };

struct settings {
    int64_t count;      /* operations so far */
    int64_t at;         /* the operation that fails, from 1; 0: none */
    int64_t mode;       /* what happens there */
    int64_t happened;   /* how often it did */
    char root[512];
    char what[512];     /* the operation that failed */
    int64_t listing;    /* 1: a line on standard error for each operation */
};

static struct settings *settings;

__attribute__((constructor)) static void map_settings(void) {
    const char *path = getenv("FAILING_WRITES");
    if (!path) return;
    int file = open(path, O_RDWR);
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *settings, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) settings = page;
}

#define REAL(name) static typeof(&name) real; if (!real) real = (typeof(&name))dlsym(RTLD_NEXT, #name)

static int is_below(const char *path) {
    size_t length = strlen(settings->root);
    return length && !strncmp(path, settings->root, length) &&
           (path[length] == '/' || path[length] == 0);
}

static void full_path(int folder, const char *path, char *out, size_t size) {
    char link[64], base[1024];
    if (path[0] == '/') { snprintf(out, size, "%s", path); return; }
    ssize_t length;
    if (folder == AT_FDCWD) length = getcwd(base, sizeof base) ? (ssize_t)strlen(base) : -1;
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, base, sizeof base - 1);
    }
    if (length < 0) { snprintf(out, size, "%s", path); return; }
    base[length] = 0;
    snprintf(out, size, "%s/%s", base, path);
}

/* Whether the operation fails, with errno set. */
static int fails(const char *operation, const char *path, int frees) {
    if (!settings || !is_below(path)) return 0;
    int64_t number = __atomic_add_fetch(&settings->count, 1, __ATOMIC_SEQ_CST);
    if (settings->listing) dprintf(2, "%ld %s %s\n", (long)number, operation, path);
    int64_t at = settings->at, mode = settings->mode;
    /* A full disk stays full; the others happen once. */
    if (!at || number < at || (number > at && mode != FULL)) return 0;
    if (mode == FULL && frees) return 0;
    if (!__atomic_fetch_add(&settings->happened, 1, __ATOMIC_SEQ_CST))
        snprintf(settings->what, sizeof settings->what, "%s %s", operation, path);
    if (mode == KILL) return 1;
    errno = mode == FULL ? ENOSPC : mode == BROKEN ? EIO : EACCES;
    return 1;
}

static int at_path(const char *operation, int folder, const char *path, int frees) {
    char whole[2048];
    if (!settings || !settings->root[0]) return 0;
    full_path(folder, path, whole, sizeof whole);
    if (!fails(operation, whole, frees)) return 0;
    if (settings->mode == KILL) kill(getpid(), SIGKILL);
    return 1;
}

static int at_file(const char *operation, int file) {
    char link[64], whole[2048];
    if (!settings || !settings->root[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, whole, sizeof whole - 1);
    if (length <= 0) return 0;
    whole[length] = 0;
    return fails(operation, whole, 0);
}

/* What a killed process wrote is cut at any place. */
#define KILLED_AFTER(half) if (settings->mode == KILL) { half; kill(getpid(), SIGKILL); }

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    if (at_file("write", file)) { KILLED_AFTER(real(file, data, size / 2)) return -1; }
    return real(file, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t place) {
    REAL(pwrite);
    if (at_file("pwrite", file)) { KILLED_AFTER(real(file, data, size / 2, place)) return -1; }
    return real(file, data, size, place);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    REAL(pwrite64);
    if (at_file("pwrite", file)) { KILLED_AFTER(real(file, data, size / 2, place)) return -1; }
    return real(file, data, size, place);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    if (at_file("writev", file)) { KILLED_AFTER(real(file, parts, count / 2)) return -1; }
    return real(file, parts, count);
}

#define ON_FILE(name, parameters, arguments) \
    int name parameters { \
        REAL(name); \
        if (at_file(#name, file)) { KILLED_AFTER() return -1; } \
        return real arguments; \
    }
ON_FILE(fsync, (int file), (file))
ON_FILE(fdatasync, (int file), (file))
ON_FILE(ftruncate, (int file, off_t size), (file, size))
ON_FILE(ftruncate64, (int file, off64_t size), (file, size))

ssize_t sendfile(int file, int from, off_t *place, size_t size) {
    static ssize_t (*real)(int, int, off_t *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "sendfile");
    if (at_file("sendfile", file)) { KILLED_AFTER() return -1; }
    return real(file, from, place, size);
}

ssize_t sendfile64(int file, int from, off64_t *place, size_t size) {
    static ssize_t (*real)(int, int, off64_t *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "sendfile64");
    if (at_file("sendfile", file)) { KILLED_AFTER() return -1; }
    return real(file, from, place, size);
}

ssize_t copy_file_range(int from, off64_t *start, int file, off64_t *place, size_t size, unsigned flags) {
    REAL(copy_file_range);
    if (at_file("copy", file)) { KILLED_AFTER() return -1; }
    return real(from, start, file, place, size, flags);
}

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

static mode_t mode_of(int flags, va_list rest) {
    return (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; va_start(rest, flags); mode_t mode = mode_of(flags, rest); va_end(rest); \
        if (writes(flags) && at_path("open", AT_FDCWD, path, 0)) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPEN_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; va_start(rest, flags); mode_t mode = mode_of(flags, rest); va_end(rest); \
        if (writes(flags) && at_path("open", folder, path, 0)) return -1; \
        return real(folder, path, flags, mode); \
    }
OPEN_AT(openat)
OPEN_AT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); \
        if (strpbrk(mode, "wa+") && at_path("fopen", AT_FDCWD, path, 0)) return NULL; \
        return real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

#define ON_PATH(name, parameters, arguments, folder, path, frees) \
    int name parameters { \
        REAL(name); \
        if (at_path(#name, folder, path, frees)) return -1; \
        return real arguments; \
    }
ON_PATH(rename, (const char *from, const char *to), (from, to), AT_FDCWD, to, 0)
ON_PATH(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), b, to, 0)

/* One that exists is not made. */
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (access(path, F_OK) && at_path("mkdir", AT_FDCWD, path, 0)) return -1;
    return real(path, mode);
}

ON_PATH(unlink, (const char *path), (path), AT_FDCWD, path, 1)
ON_PATH(unlinkat, (int folder, const char *path, int flags), (folder, path, flags), folder, path, 1)
ON_PATH(rmdir, (const char *path), (path), AT_FDCWD, path, 1)
ON_PATH(link, (const char *from, const char *to), (from, to), AT_FDCWD, to, 0)
ON_PATH(linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), b, to, 0)
