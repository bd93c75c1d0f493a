/* Loaded before the C library, has calls fail as they do on file systems that are not here: POOR names each with the
   error's number, such as "fsync=22,flock=38,renameat2=22"; fsync fails for folders only. After `kill_at(n)` the n-th
   call that renames or removes something is the process's last, and is not done. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int calls_left = -1;
void kill_at(int n) { calls_left = n; }

static void count(void) {
  if (calls_left > 0 && --calls_left == 0) raise(SIGKILL);
}

static int refused(const char *call) {
  const char *poor = getenv("POOR"), *found = poor ? strstr(poor, call) : NULL;
  if (!found || found[strlen(call)] != '=') return 0;
  errno = atoi(found + strlen(call) + 1);
  return 1;
}

#define NEXT(name, ...) ((int (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

int fsync(int fd) {
  struct stat status;
  if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) && refused("fsync")) return -1;
  return NEXT("fsync", int)(fd);
}
int flock(int fd, int how) { return refused("flock") ? -1 : NEXT("flock", int, int)(fd, how); }
int renameat2(int from, const char *a, int to, const char *b, unsigned how) {
  count();
  if (refused("renameat2")) return -1;
  return NEXT("renameat2", int, const char *, int, const char *, unsigned)(from, a, to, b, how);
}
int rename(const char *a, const char *b) { count(); return NEXT("rename", const char *, const char *)(a, b); }
int unlinkat(int fd, const char *a, int how) { count(); return NEXT("unlinkat", int, const char *, int)(fd, a, how); }
int rmdir(const char *a) { count(); return NEXT("rmdir", const char *)(a); }
