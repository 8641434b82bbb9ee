"""Whether some program still has a file open for writing.

The kernel grants a read lease only on a file that nobody has open for writing; the lease is given
back at once. It grants one only to the file's owner and to root, and not on every file system, so
there may be no answer. See F_SETLEASE in fcntl(2).
"""

from __future__ import annotations

import errno
import fcntl
import signal


def has_writer(descriptor: int) -> bool:
    """Whether the file behind a read-only descriptor is open for writing; False if unknown."""
    try:
        # Who opens the file while the lease is held has a signal sent to this process; the usual
        # one would end it, this one is ignored by default.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
