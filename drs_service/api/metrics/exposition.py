"""The figures in the words of Prometheus. `docs/operating.md` lists every name, by test."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from drs_service.api.metrics.sharing import Alike, Sharing, Snapshot
from drs_service.api.metrics.tally import BOUNDS, Tally
from drs_service.usecases.observing import Figures, Observing

BUCKETS = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]


class Exposition:
    """registry holds what the system says of this process."""

    def __init__(self, tally: Tally, observing: Observing, sharing: Sharing, registry: CollectorRegistry) -> None:
        self._tally = tally
        self._observing = observing
        self._sharing = sharing
        self._registry = registry

    def snapshot(self) -> Snapshot:
        usage = self._observing.usage()
        return Snapshot(
            durations=[Alike(*key, one.counts, one.sum) for key, one in self._tally.durations.items()],
            in_flight=self._tally.in_flight,
            tunnels=self._tally.tunnels,
            received_bytes=self._tally.received_bytes,
            sent_bytes=self._tally.sent_bytes,
            uploads=dict(self._tally.uploads),
            connections_open=usage.open,
            connections_in_use=usage.in_use,
            process={sample.name: sample.value for family in self._registry.collect() for sample in family.samples},
        )

    async def render(self) -> bytes:
        figures = await self._observing.figures()
        processes = {str(number): one for number, one in self._sharing.all(self.snapshot()).items()}
        return generate_latest(Families([*of_service(figures), *of_processes(processes), *self._of_system(processes)]))

    def _of_system(self, processes: Mapping[str, Snapshot]) -> Iterator[Metric]:
        for family in self._registry.collect():
            named = Metric(family.name, family.documentation, family.type)
            for process, snapshot in processes.items():
                for sample in family.samples:
                    if sample.name in snapshot.process:
                        named.add_sample(sample.name, {"process": process}, snapshot.process[sample.name])
            yield named


class Families(Collector):
    """What has been gathered already."""

    def __init__(self, gathered: Iterable[Metric]) -> None:
        self._gathered = gathered

    def collect(self) -> Iterable[Metric]:
        return self._gathered


def of_service(figures: Figures | None) -> Iterator[Metric]:
    """Of all nodes together; without what only the database knows, if that does not answer."""
    build = GaugeMetricFamily("drs_build_info", "Which release answers; always 1.", labels=["version"])
    build.add_metric([version("drs-service")], 1)
    yield build
    yield GaugeMetricFamily("drs_database_up", "Whether the database answers.", value=float(figures is not None))
    if figures is None:
        return
    totals = figures.totals
    yield GaugeMetricFamily("drs_objects", "Objects that are not deleted.", value=totals.objects)
    yield GaugeMetricFamily("drs_blobs", "Blobs, each counted once.", value=totals.blobs)
    yield GaugeMetricFamily("drs_blob_bytes", "Bytes of blobs, each counted once.", value=totals.bytes)
    staged = "Bytes that came of unfinished uploads, or may have been brought past the service."
    yield GaugeMetricFamily("drs_staged_bytes", staged, value=figures.staged_bytes)
    yield GaugeMetricFamily(
        "drs_unfinished_uploads", "Uploads that are no object yet.", value=figures.unfinished_uploads
    )
    damaged = GaugeMetricFamily("drs_replicas_damaged", "Copies of blobs that are known to be bad.", labels=["place"])
    for place, count in sorted(figures.damaged.items()):
        damaged.add_metric([place], count)
    yield damaged
    yield GaugeMetricFamily("drs_blobs_damaged", "Blobs of which no good copy is left.", value=figures.lost)
    jobs = GaugeMetricFamily("drs_jobs", "Jobs, by kind and by what becomes of them.", labels=["kind", "state"])
    for (kind, state), count in sorted(figures.jobs.items()):
        jobs.add_metric([kind, state], count)
    yield jobs


def of_processes(processes: Mapping[str, Snapshot]) -> Iterator[Metric]:
    durations = HistogramMetricFamily(
        "drs_http_request_duration_seconds",
        "From the head of a request to the end of its answer.",
        labels=["process", "route", "method", "status"],
    )
    flight = GaugeMetricFamily("drs_http_requests_in_flight", "Requests that are being answered.", labels=["process"])
    tunnels = GaugeMetricFamily("drs_tunnels", "Connections of sessions' agents.", labels=["process"])
    received = CounterMetricFamily("drs_http_received_bytes", "Bytes of bodies that came.", labels=["process"])
    sent = CounterMetricFamily("drs_http_sent_bytes", "Bytes of bodies that went.", labels=["process"])
    uploads = CounterMetricFamily(
        "drs_upload_requests", "Requests that bring bytes, by what came of them.", labels=["process", "outcome"]
    )
    connections = GaugeMetricFamily("drs_database_connections", "Connections of the pool.", labels=["process", "state"])
    for process, one in processes.items():
        for alike in one.durations:
            buckets = list(zip(BUCKETS, accumulate(alike.counts), strict=True))
            durations.add_metric([process, alike.route, alike.method, str(alike.status)], buckets, alike.sum)
        flight.add_metric([process], one.in_flight)
        tunnels.add_metric([process], one.tunnels)
        received.add_metric([process], one.received_bytes)
        sent.add_metric([process], one.sent_bytes)
        for outcome, count in sorted(one.uploads.items()):
            uploads.add_metric([process, outcome], count)
        connections.add_metric([process, "in_use"], one.connections_in_use)
        connections.add_metric([process, "idle"], one.connections_open - one.connections_in_use)
    yield from (durations, flight, tunnels, received, sent, uploads, connections)
