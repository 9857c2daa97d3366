"""The daemon: everything built top to bottom, started in order, stopped in reverse.

This package is the only place that knows all the others. `roles` say which parts a
process runs; several processes on one database need no other coordination than that of
the database: leases, SKIP LOCKED and NOTIFY.
"""

from noinfra.service.daemon import Daemon

__all__ = ["Daemon"]
