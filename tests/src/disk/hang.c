/* A disk that hangs, for the one process that this is loaded into (LD_PRELOAD): as long as the file that
 * WEIR_TEST_HANG names is there, every write to a file below WEIR_TEST_HANG_BELOW, and every sync of one, waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static void wait_for_the_disk(int fd) {
    const char *hang = getenv("WEIR_TEST_HANG");
    const char *below = getenv("WEIR_TEST_HANG_BELOW");
    char link[64], path[PATH_MAX];
    if (hang == NULL || below == NULL || access(hang, F_OK) != 0) {
        return;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) {
        return;
    }
    path[length] = '\0';
    if (strncmp(path, below, strlen(below)) != 0) {
        return;
    }
    while (access(hang, F_OK) == 0) {
        usleep(10000);
    }
}

#define NEXT(type, name, parameters) ((type (*) parameters)dlsym(RTLD_NEXT, name))

int fsync(int fd) {
    wait_for_the_disk(fd);
    return NEXT(int, "fsync", (int))(fd);
}

int fdatasync(int fd) {
    wait_for_the_disk(fd);
    return NEXT(int, "fdatasync", (int))(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    wait_for_the_disk(fd);
    return NEXT(ssize_t, "write", (int, const void *, size_t))(fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    wait_for_the_disk(fd);
    return NEXT(ssize_t, "pwrite64", (int, const void *, size_t, off64_t))(fd, bytes, count, at);
}
