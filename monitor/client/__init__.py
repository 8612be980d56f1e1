"""The client for serving systems: `from monitor.client import Client`.

It imports the standard library alone and starts in milliseconds. A row that was logged goes from memory to a queue on
disk (`queue`, `spool`, `lane`), from there in batches to the service (`sender`, `deliver`, `transport`), and leaves the
queue when the service has confirmed that it is stored. A row that the service will not take becomes a dead letter, in
a file beside the queue, with the reason. Rows are sent again with the same ids, so nothing is counted twice.
"""

from monitor.client.client import Client
from monitor.client.queue import Logged

__all__ = ["Client", "Logged"]
