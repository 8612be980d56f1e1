"""KServe's inference logger: a request and a response event for each call, with one `ce-id` for both.

The body is what the client sent and got, in the v1 or the v2 protocol. The response is sent only when the model
answered with 200; the logger tries nothing twice.
"""

from monitor.ingest.formats.cloudevents import Event, EventFile, version_in


class KServeCall:
    types = "org.kubeflow.serving.inference."

    def call_id(self, event: Event) -> str | None:
        return event.get("id")

    def model(self, event: Event) -> str | None:
        return event.get("inferenceservicename")

    def version(self, event: Event) -> str | None:
        return version_in(event)


KSERVE = EventFile("kserve", "a log of KServe's inference logger", KServeCall())
