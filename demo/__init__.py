"""`python -m demo`: a real model, ten real months, through the public HTTP API.

flights.py    the data: 336,776 departures from New York in 2013, with weather and planes
model.py      the monitored model, and its honest reference: out-of-fold predictions by day
server.py     `keepwatch serve` as a child process
receiver.py   a webhook receiver that verifies signatures by hand, from the specification
replay.py     March to December in event order
__main__.py   the story from start to end
"""

import os

# Read when scikit-learn loads its threads: if waiting ones spin, a busy machine trains ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
