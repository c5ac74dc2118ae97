"""All metrics, by process. Units are in the names."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# Every process
CONFIGURATION_CHANGE = Gauge("tocsin_configuration_change", "The newest change of the configuration in effect here")
CONFIGURATION_UNREADABLE = Gauge(
    "tocsin_configuration_unreadable_records", "Records that could not be read; the last good one stays in effect"
)

# Ingest
READINGS_ACCEPTED = Counter("tocsin_ingest_readings_accepted_total", "Readings the broker has acknowledged", ["source"])
READINGS_REFUSED = Counter("tocsin_ingest_readings_refused_total", "Readings refused, by reason", ["reason"])

# Detector
READINGS_EVALUATED = Counter("tocsin_detector_readings_total", "Readings evaluated")
READINGS_REJECTED = Counter("tocsin_detector_readings_rejected_total", "Readings rejected, by reason", ["reason"])
READINGS_LATE = Counter("tocsin_detector_readings_late_total", "Readings older than the newest of their series")
READINGS_REPEATED = Counter("tocsin_detector_readings_repeated_total", "Readings with a time and value seen before")
READINGS_AHEAD = Counter("tocsin_detector_readings_ahead_total", "Readings judged as of their arrival: clock too fast")
SENSOR_CHANGES = Counter("tocsin_detector_changes_total", "Sensor changes published", ["state"])
DETECTOR_SERIES = Gauge("tocsin_detector_series", "Series known here")
DETECTOR_BATCH_SECONDS = Histogram("tocsin_detector_batch_seconds", "From the first record of a batch to its commit")

# Activator
TALLIES_TAKEN = Counter("tocsin_activator_tallies_total", "Tallies, by what became of them", ["outcome"])
EVENTS_PUBLISHED = Counter("tocsin_activator_events_total", "Notification events published", ["kind"])
ACTIVATIONS_OPEN = Gauge("tocsin_activator_activations_open", "Activations open in the partitions owned here")

# Router
EVENTS_ROUTED = Counter("tocsin_router_events_total", "Events, by what became of them", ["outcome"])
DELIVERIES_ROUTED = Counter("tocsin_router_deliveries_total", "Deliveries made")

# Dispatcher
ATTEMPTS = Counter("tocsin_dispatcher_attempts_total", "Attempts, by channel and outcome", ["channel", "outcome"])
ATTEMPT_SECONDS = Histogram("tocsin_dispatcher_attempt_seconds", "How long an attempt took", ["channel"])
DELIVERIES_SETTLED = Counter("tocsin_dispatcher_deliveries_settled_total", "Terminal records, by kind", ["kind"])
IN_FLIGHT = Gauge("tocsin_dispatcher_in_flight", "Deliveries taken and not yet settled")
