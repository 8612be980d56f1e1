"""Seldon Core 1's request logger: CloudEvents as KServe's, joined by `ce-requestid`; every event has an id of its own.

Bodies are Seldon's `data` with `names` and `ndarray` or `tensor`, `jsonData`, or the v2 protocol.
"""

from monitor.ingest.formats.cloudevents import Event, EventFile, version_in


class SeldonCall:
    types = "io.seldon.serving.inference."

    def call_id(self, event: Event) -> str | None:
        return event.get("requestid", "id")

    def model(self, event: Event) -> str | None:
        return event.get("inferenceservicename", "modelid")

    def version(self, event: Event) -> str | None:
        return version_in(event)


SELDON = EventFile("seldon", "a log of Seldon Core 1", SeldonCall())
