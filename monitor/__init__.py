"""Keepwatch: production model monitoring. The tour, in the order in which data moves.

**Ingest.** A serving system POSTs predictions, and later outcomes. `api/ingest` hands the body to `ingest/decode`,
which parses it straight into Arrow columns (`columns`), and to `ingest/validate`, which rejects single rows with a
reason. `ingest/writer` gathers what waits into one transaction: a compressed block, an index entry for each id, one
sync. The answer goes out after that commit. What other systems write is read by `ingest/formats`, one file each, into
the same drafts: files by `ingest/load`, what they send by `api/foreign`; calls that come in two halves wait in
`ingest/pairs`.

**Evaluate.** The scheduler's tick (`worker`, `jobs`) calls `evaluate/run`. Rows and outcomes that came since the last
tick become profiles: integer counts over bins frozen with the reference (`stats/binning`, `stats/profile`), added to
the hour and the day they belong to, in the transaction that moves the watermark. Windows are measured from profiles
(`stats/measure`), restated when late data arrives, and give their evidence once, at their end plus grace.

**Alert.** `evaluate/judge` turns a window's counts into evidence (`stats/evidence`, `stats/detector`) under the
model's alert budget. A verdict becomes an alert and its deliveries (`alerts/transition`) in the transaction of the
evaluation; `alerts/deliver` sends them afterwards, signed, through the guard, until they are received.

**Leave.** `archive` writes the log as Parquet: exports, and rows whose retention is over, before they are deleted. It
erases what is stored under an id, there and here. `client` is the other end of the line, what serving systems log
with.

**Look.** `dashboards` renders pages on the server from stored profiles and measurements; from rows where somebody asks.

Each room has one direction of imports: settings, errors, clock, log, telemetry, columns <- stats | store <- ingest |
evaluate | alerts | archive <- api | jobs | dashboards <- app, worker <- cli. A test keeps it so."""
