/* What C's library asks of its system. It asks WASI 0.1 for it, which a component does not import: so it is answered here,
 * and a plugin that opens a file hears that there is none. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

bool er_print_to(int descriptor, const char *data, size_t length);
_Noreturn void er_exit(int code);
uint64_t er_host_now(void);
int64_t er_host_time(void);
uint64_t er_host_random(void);
bool er_host_wait_stop(uint64_t nanoseconds);

/* Errors of WASI 0.1 are what C's library has as errno. A part of Zig's library has other names for the same functions. */
#define SYSTEM(name) __imported_wasi_snapshot_preview1_##name
#define ALSO(result, name, parameters)                                                                                  \
    __attribute__((weak, alias("__imported_wasi_snapshot_preview1_" #name))) result name parameters                    \
        __asm__(#name "|wasi_snapshot_preview1")

int SYSTEM(fd_write)(int descriptor, int vectors, int count, int written) {
    if (descriptor != 1 && descriptor != 2) return EBADF;
    const struct {
        const char *data;
        size_t length;
    } *vector = (const void *)(intptr_t)vectors;
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        if (!er_print_to(descriptor, vector[i].data, vector[i].length)) return EIO;
        total += vector[i].length;
    }
    *(size_t *)(intptr_t)written = total;
    return 0;
}

int SYSTEM(fd_read)(int descriptor, int vectors, int count, int read) {
    (void)vectors, (void)count;
    if (descriptor) return EBADF;
    *(size_t *)(intptr_t)read = 0;
    return 0;
}

int SYSTEM(fd_close)(int descriptor) { return descriptor <= 2 ? 0 : EBADF; }
int SYSTEM(fd_seek)(int descriptor, int64_t offset, int whence, int position) {
    (void)offset, (void)whence, (void)position;
    return descriptor <= 2 ? ESPIPE : EBADF;
}

/* Neither a file nor a terminal. */
int SYSTEM(fd_fdstat_get)(int descriptor, int status) {
    if (descriptor > 2) return EBADF;
    memset((void *)(intptr_t)status, 0, 24);
    return 0;
}

int SYSTEM(fd_fdstat_set_flags)(int descriptor, int flags) { return (void)descriptor, (void)flags, EBADF; }
int SYSTEM(fd_filestat_get)(int descriptor, int status) { return (void)descriptor, (void)status, EBADF; }
int SYSTEM(fd_prestat_get)(int descriptor, int status) { return (void)descriptor, (void)status, EBADF; }
int SYSTEM(fd_prestat_dir_name)(int descriptor, int path, int length) {
    return (void)descriptor, (void)path, (void)length, EBADF;
}
int SYSTEM(path_open)(int directory, int how, int path, int length, int flags, int64_t rights, int64_t inherited, int more,
                      int descriptor) {
    (void)directory, (void)how, (void)path, (void)length, (void)flags, (void)rights, (void)inherited, (void)more;
    (void)descriptor;
    return ENOTCAPABLE;
}

/* What is asked of a file, or of a directory, whatever the parameters say. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-parameter"
#define NO_FILE(name, ...)                                                                                              \
    int SYSTEM(name)(__VA_ARGS__) { return EBADF; }                                                                    \
    ALSO(int, name, (__VA_ARGS__))
#define NO_DIRECTORY(name, ...)                                                                                         \
    int SYSTEM(name)(__VA_ARGS__) { return ENOTCAPABLE; }                                                              \
    ALSO(int, name, (__VA_ARGS__))
NO_FILE(fd_advise, int a, int64_t b, int64_t c, int d);
NO_FILE(fd_allocate, int a, int64_t b, int64_t c);
NO_FILE(fd_datasync, int a);
NO_FILE(fd_filestat_set_size, int a, int64_t b);
NO_FILE(fd_filestat_set_times, int a, int64_t b, int64_t c, int d);
NO_FILE(fd_pread, int a, int b, int c, int64_t d, int e);
NO_FILE(fd_pwrite, int a, int b, int c, int64_t d, int e);
NO_FILE(fd_readdir, int a, int b, int c, int64_t d, int e);
NO_FILE(fd_renumber, int a, int b);
NO_FILE(fd_sync, int a);
NO_FILE(fd_tell, int a, int b);
NO_DIRECTORY(path_create_directory, int a, int b, int c);
NO_DIRECTORY(path_filestat_get, int a, int b, int c, int d, int e);
NO_DIRECTORY(path_filestat_set_times, int a, int b, int c, int d, int64_t e, int64_t f, int g);
NO_DIRECTORY(path_link, int a, int b, int c, int d, int e, int f, int g);
NO_DIRECTORY(path_readlink, int a, int b, int c, int d, int e, int f);
NO_DIRECTORY(path_remove_directory, int a, int b, int c);
NO_DIRECTORY(path_rename, int a, int b, int c, int d, int e, int f);
NO_DIRECTORY(path_symlink, int a, int b, int c, int d, int e);
NO_DIRECTORY(path_unlink_file, int a, int b, int c);
#pragma clang diagnostic pop

int SYSTEM(environ_sizes_get)(int count, int size) {
    *(size_t *)(intptr_t)count = *(size_t *)(intptr_t)size = 0;
    return 0;
}
int SYSTEM(environ_get)(int variables, int text) { return (void)variables, (void)text, 0; }

int SYSTEM(clock_time_get)(int clock, int64_t precision, int time) {
    (void)precision;
    *(uint64_t *)(intptr_t)time = clock == 0 ? (uint64_t)er_host_time() * 1000000000u : er_host_now();
    return 0;
}
int SYSTEM(clock_res_get)(int clock, int resolution) {
    *(uint64_t *)(intptr_t)resolution = clock == 0 ? 1000000000 : 1;
    return 0;
}

int SYSTEM(random_get)(int buffer, int length) {
    char *data = (char *)(intptr_t)buffer;
    for (int done = 0; done < length; done += 8) {
        uint64_t random = er_host_random();
        memcpy(data + done, &random, length - done < 8 ? (size_t)(length - done) : 8);
    }
    return 0;
}

/* What C's library waits by: until the first of some moments, or until the run is to stop. */
struct subscription {
    uint64_t userdata;
    uint8_t kind; /* 0: of a clock. */
    _Alignas(8) struct {
        uint32_t clock;
        _Alignas(8) uint64_t time, precision;
        uint16_t is_moment;
    } clock;
};
struct event {
    uint64_t userdata;
    uint16_t error;
    uint8_t kind;
    _Alignas(8) uint64_t unused[2];
};
_Static_assert(sizeof(struct subscription) == 48 && sizeof(struct event) == 32, "as WASI 0.1 has them");

int SYSTEM(poll_oneoff)(int subscriptions, int events, int count, int happened) {
    const struct subscription *asked = (const void *)(intptr_t)subscriptions;
    const struct subscription *first = NULL;
    uint64_t shortest = UINT64_MAX;
    for (int i = 0; i < count; i++) {
        /* Nothing else is there that could be waited for. */
        if (asked[i].kind != 0) return ENOTSUP;
        uint64_t now = asked[i].clock.clock == 0 ? (uint64_t)er_host_time() * 1000000000u : er_host_now();
        uint64_t wait = asked[i].clock.time;
        if (asked[i].clock.is_moment) wait = wait > now ? wait - now : 0;
        if (!first || wait < shortest) first = &asked[i], shortest = wait;
    }
    if (!first) return EINVAL;
    if (er_host_wait_stop(shortest)) return EINTR;
    *(struct event *)(intptr_t)events = (struct event){.userdata = first->userdata};
    *(size_t *)(intptr_t)happened = 1;
    return 0;
}

int SYSTEM(sched_yield)(void) { return 0; }
_Noreturn void SYSTEM(proc_exit)(int code) { er_exit(code); }

ALSO(int, fd_write, (int, int, int, int));
ALSO(int, fd_read, (int, int, int, int));
ALSO(int, fd_close, (int));
ALSO(int, fd_seek, (int, int64_t, int, int));
ALSO(int, fd_fdstat_get, (int, int));
ALSO(int, fd_fdstat_set_flags, (int, int));
ALSO(int, fd_filestat_get, (int, int));
ALSO(int, fd_prestat_get, (int, int));
ALSO(int, fd_prestat_dir_name, (int, int, int));
ALSO(int, path_open, (int, int, int, int, int, int64_t, int64_t, int, int));
ALSO(int, environ_sizes_get, (int, int));
ALSO(int, environ_get, (int, int));
ALSO(int, clock_time_get, (int, int64_t, int));
ALSO(int, clock_res_get, (int, int));
ALSO(int, random_get, (int, int));
ALSO(int, poll_oneoff, (int, int, int, int));
ALSO(int, sched_yield, (void));
ALSO(void, proc_exit, (int));
