/* A disk that loses at a power cut what was not fsynced. Loaded with LD_PRELOAD.
 *
 * FORGETFUL_LIVE     the directory that the process sees; everything below it is watched
 * FORGETFUL_DURABLE  the directory that has what a power cut would leave:
 *                      data/INODE       the bytes of a file, as of its last fsync
 *                      dir/INODE/NAME   the names of a directory, as of its last fsync: a hard link
 *                                       to data/INODE, or for a directory a symlink to its inode
 *                      pin/INODE        a hard link to the live file, so that no inode is used twice
 * FORGETFUL_DEATH    optional, "PATTERN N STAGE": the process kills itself at its Nth fsync of a
 *                    path that contains PATTERN (* for any), "before" anything of it is durable,
 *                    when "half" is, or "after" all is
 *
 * It is strict: the name of a new file is durable only when its directory was fsynced, and a
 * removed or renamed file keeps its old name until then. SQLite's index of the WAL (-shm) is never
 * durable. Writes by other calls than those below are lost, which fails a test and hides nothing.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define BLOCK 4096
#define TO_THE_END LLONG_MAX

enum stage { BEFORE, HALF, AFTER, LIVES };

struct range {
    long long from, to;
};

/* A watched file, and where it differs from its durable copy. */
struct file {
    ino_t inode;
    struct range *dirty;
    size_t count, room;
    struct file *next;
};

static char live[PATH_MAX], durable[PATH_MAX], pattern[PATH_MAX];
static size_t live_length;
static dev_t device;
static long long syncs_to_live;
static enum stage death = LIVES;
static struct file *files;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static __thread int is_inside; /* the calls of this file itself are not watched */

__attribute__((constructor)) static void begin(void) {
    const char *from = getenv("FORGETFUL_LIVE"), *to = getenv("FORGETFUL_DURABLE");
    const char *when = getenv("FORGETFUL_DEATH");
    struct stat found;
    char stage[16] = "";
    if (!from || !to || !realpath(from, live) || !realpath(to, durable) || stat(live, &found))
        return;
    if (when && sscanf(when, "%4000s %lld %15s", pattern, &syncs_to_live, stage) == 3)
        death = stage[0] == 'b' ? BEFORE : stage[0] == 'h' ? HALF : AFTER;
    device = found.st_dev;
    srand((unsigned)syncs_to_live);
    live_length = strlen(live);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void give_up(const char *why) {
    perror(why);
    abort();
}

/* Whether a part of a sync that is cut in the middle reaches the disk. */
static int is_kept(enum stage stage) {
    return stage != HALF || rand() % 2;
}

static void durable_path(char *path, const char *kind, ino_t inode) {
    if (snprintf(path, PATH_MAX, "%s/%s/%llu", durable, kind, (unsigned long long)inode) < 0)
        give_up("forgetful_disk: path");
}

/* The path of an open file below the live directory; NULL for any other. */
static const char *watched_path(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < (ssize_t)live_length || strncmp(path, live, live_length))
        return NULL;
    path[length] = 0;
    if (!path[live_length])
        return ".";
    if (path[live_length] != '/')
        return NULL;
    return length > 4 && !strcmp(path + length - 4, "-shm") ? NULL : path + live_length + 1;
}

static void make_dirty(struct file *file, long long from, long long to) {
    struct range *last = file->count ? &file->dirty[file->count - 1] : NULL;
    if (last && from <= last->to && to >= last->from) {
        last->from = from < last->from ? from : last->from;
        last->to = to > last->to ? to : last->to;
        return;
    }
    if (file->count == file->room) {
        file->room = file->room ? 2 * file->room : 16;
        file->dirty = realloc(file->dirty, file->room * sizeof *file->dirty);
        if (!file->dirty)
            give_up("forgetful_disk: memory");
    }
    file->dirty[file->count++] = (struct range){from, to};
}

/* The watched file behind ``fd``; NULL for any other. An earlier process may have written to it
 * without an fsync, so all of it is dirty at first. */
static struct file *watched(int fd) {
    struct stat found;
    char path[PATH_MAX], pin[PATH_MAX], link[64];
    if (fstat(fd, &found) || !S_ISREG(found.st_mode) || found.st_dev != device)
        return NULL;
    for (struct file *file = files; file; file = file->next)
        if (file->inode == found.st_ino)
            return file;
    if (!found.st_nlink || !watched_path(fd, path))
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    durable_path(pin, "pin", found.st_ino);
    linkat(AT_FDCWD, link, AT_FDCWD, pin, AT_SYMLINK_FOLLOW); /* it may be there already */
    struct file *file = calloc(1, sizeof *file);
    if (!file)
        give_up("forgetful_disk: memory");
    file->inode = found.st_ino;
    file->next = files;
    make_dirty(file, 0, TO_THE_END);
    return files = file;
}

static void sync_file(struct file *file, int fd, enum stage stage) {
    char path[PATH_MAX], block[BLOCK];
    struct stat found;
    /* The caller's own descriptor, where it can be read: closing another one of the same file would
     * release the locks that SQLite has on it. */
    int is_own = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
    durable_path(path, "pin", file->inode);
    int source = is_own ? fd : open(path, O_RDONLY | O_CLOEXEC);
    durable_path(path, "data", file->inode);
    int target = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (source < 0 || target < 0 || fstat(source, &found))
        give_up("forgetful_disk: fsync");
    for (size_t n = 0; n < file->count; n++) {
        struct range dirty = file->dirty[n];
        long long end = dirty.to < found.st_size ? dirty.to : found.st_size;
        for (long long at = dirty.from; at < end; at += BLOCK) {
            ssize_t got = pread(source, block, end - at < BLOCK ? end - at : BLOCK, at);
            if (got > 0 && is_kept(stage) && pwrite(target, block, got, at) != got)
                give_up("forgetful_disk: fsync");
        }
    }
    if (is_kept(stage) && ftruncate(target, found.st_size))
        give_up("forgetful_disk: fsync");
    file->count = 0;
    if (!is_own)
        close(source);
    close(target);
}

/* Keep a name; a kill meanwhile leaves it as it was. */
static void keep_name(const char *path, const char *kept, const struct stat *found) {
    char data[PATH_MAX], new[PATH_MAX], number[32];
    struct stat named, held;
    durable_path(new, "new", found->st_ino);
    unlink(new);
    if (S_ISDIR(found->st_mode)) {
        snprintf(number, sizeof number, "%llu", (unsigned long long)found->st_ino);
        if (symlink(number, new) || rename(new, kept))
            give_up("forgetful_disk: fsync of a directory");
        return;
    }
    durable_path(data, "pin", found->st_ino);
    link(path, data); /* it may be there already */
    durable_path(data, "data", found->st_ino);
    close(open(data, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)); /* a name without its bytes */
    if (!lstat(kept, &named) && !stat(data, &held) && named.st_ino == held.st_ino)
        return;
    if (link(data, new) || rename(new, kept))
        give_up("forgetful_disk: fsync of a directory");
}

static void sync_directory(const char *path, ino_t inode, enum stage stage) {
    char kept[PATH_MAX], name[PATH_MAX + NAME_MAX + 2], mirror[PATH_MAX + NAME_MAX + 2];
    struct dirent *entry;
    struct stat found;
    durable_path(kept, "dir", inode);
    mkdir(kept, 0700);
    DIR *names = opendir(path), *old = opendir(kept);
    if (!names || !old)
        give_up("forgetful_disk: fsync of a directory");
    while ((entry = readdir(old))) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        snprintf(mirror, sizeof mirror, "%s/%s", kept, entry->d_name);
        if (entry->d_name[0] != '.' && lstat(name, &found) && is_kept(stage))
            unlink(mirror);
    }
    while ((entry = readdir(names))) {
        size_t length = strlen(entry->d_name);
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        snprintf(mirror, sizeof mirror, "%s/%s", kept, entry->d_name);
        if (entry->d_name[0] == '.' || lstat(name, &found) || !is_kept(stage) ||
            (length > 4 && !strcmp(entry->d_name + length - 4, "-shm")))
            continue;
        keep_name(name, mirror, &found);
    }
    closedir(names);
    closedir(old);
}

/* Make durable what is behind ``fd``, as far as the process lives; 0 if it is not watched. */
static int synced(int fd) {
    char path[PATH_MAX];
    struct stat found;
    enum stage stage = LIVES;
    if (!live_length || is_inside || fstat(fd, &found) || found.st_dev != device)
        return 0;
    const char *name = watched_path(fd, path);
    if (!name)
        return 0;
    pthread_mutex_lock(&mutex);
    is_inside = 1;
    if (death != LIVES && (pattern[0] == '*' || strstr(name, pattern)) && !--syncs_to_live)
        stage = death;
    struct file *file = S_ISREG(found.st_mode) ? watched(fd) : NULL;
    if (stage != BEFORE && file)
        sync_file(file, fd, stage);
    else if (stage != BEFORE && S_ISDIR(found.st_mode))
        sync_directory(path, found.st_ino, stage);
    if (stage != LIVES)
        die();
    is_inside = 0;
    pthread_mutex_unlock(&mutex);
    return 1;
}

/* Note that bytes of a file have changed. */
static void changed(int fd, long long from, long long to) {
    if (!live_length || is_inside)
        return;
    pthread_mutex_lock(&mutex);
    is_inside = 1;
    struct file *file = watched(fd);
    if (file)
        make_dirty(file, from, to);
    is_inside = 0;
    pthread_mutex_unlock(&mutex);
}

EXPORT int fsync(int fd) {
    return synced(fd) ? 0 : REAL(fsync)(fd);
}

EXPORT int fdatasync(int fd) {
    return synced(fd) ? 0 : REAL(fdatasync)(fd);
}

EXPORT ssize_t write(int fd, const void *bytes, size_t size) {
    ssize_t done = REAL(write)(fd, bytes, size);
    if (done > 0 && live_length && !is_inside) {
        off_t end = lseek(fd, 0, SEEK_CUR); /* fails for a socket */
        if (end >= done)
            changed(fd, end - done, end);
    }
    return done;
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    ssize_t done = REAL(pwrite)(fd, bytes, size, at);
    if (done > 0)
        changed(fd, at, at + done);
    return done;
}

EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    ssize_t done = REAL(pwrite64)(fd, bytes, size, at);
    if (done > 0)
        changed(fd, at, at + done);
    return done;
}

EXPORT int ftruncate(int fd, off_t size) {
    int failed = REAL(ftruncate)(fd, size);
    if (!failed)
        changed(fd, size, TO_THE_END);
    return failed;
}

EXPORT int ftruncate64(int fd, off64_t size) {
    int failed = REAL(ftruncate64)(fd, size);
    if (!failed)
        changed(fd, size, TO_THE_END);
    return failed;
}

static int opened(int fd, int flags) {
    if (fd >= 0 && flags & O_TRUNC)
        changed(fd, 0, TO_THE_END);
    return fd;
}

static mode_t mode_of(int flags, va_list more) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return opened(REAL(open)(path, flags, mode), flags);
}

EXPORT int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return opened(REAL(open64)(path, flags, mode), flags);
}
