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
AGENT_READINGS = Counter("tocsin_agent_readings_total", "Readings taken of this host")
GATEWAY_REQUESTS = Counter("tocsin_gateway_requests_total", "Requests, by the status of the answer", ["status"])
GATEWAY_IN_FLIGHT = Gauge("tocsin_gateway_in_flight_bytes", "Held for requests whose readings wait for the broker")

# Detector
READINGS_EVALUATED = Counter("tocsin_detector_readings_total", "Readings evaluated")
READINGS_REJECTED = Counter("tocsin_detector_readings_rejected_total", "Readings rejected, by reason", ["reason"])
READINGS_LATE = Counter("tocsin_detector_readings_late_total", "Readings older than the newest of their series")
READINGS_REPEATED = Counter("tocsin_detector_readings_repeated_total", "Readings with a time and value seen before")
READINGS_AHEAD = Counter("tocsin_detector_readings_ahead_total", "Readings judged as of their arrival: clock too fast")
SENSOR_CHANGES = Counter("tocsin_detector_changes_total", "Sensor changes published", ["state"])
SENSORS_OFF = Gauge("tocsin_detector_sensors_off", "Sensors that cannot be judged and are not asked any more")
DETECTOR_SERIES = Gauge("tocsin_detector_series", "Series known here")
DETECTOR_BATCH_SECONDS = Histogram("tocsin_detector_batch_seconds", "From the first record of a batch to its commit")

# Activator
TALLIES_TAKEN = Counter("tocsin_activator_tallies_total", "Tallies, by what became of them", ["outcome"])
EVENTS_PUBLISHED = Counter("tocsin_activator_events_total", "Notification events published", ["kind"])
ACTIVATIONS_OPEN = Gauge("tocsin_activator_activations_open", "Activations open in the partitions owned here")

# Router
EVENTS_ROUTED = Counter("tocsin_router_events_total", "Events, by what became of them", ["outcome"])
DELIVERIES_ROUTED = Counter("tocsin_router_deliveries_total", "Deliveries made")
EVENTS_REJECTED = Counter(
    "tocsin_router_events_rejected_total", "Records that are no event, by reason; skipped", ["reason"]
)

# Dispatcher
ATTEMPTS = Counter("tocsin_dispatcher_attempts_total", "Attempts, by channel and outcome", ["channel", "outcome"])
ATTEMPT_SECONDS = Histogram("tocsin_dispatcher_attempt_seconds", "How long an attempt took", ["channel"])
DELIVERIES_SETTLED = Counter("tocsin_dispatcher_deliveries_settled_total", "Terminal records, by kind", ["kind"])
IN_FLIGHT = Gauge("tocsin_dispatcher_in_flight", "Deliveries taken and not yet settled")
RETRIES = Counter("tocsin_dispatcher_retries_total", "Deliveries put into a retry topic", ["tier"])
PARKED = Counter("tocsin_dispatcher_parked_total", "Deliveries put into delivery-parked, by why", ["because"])
RECIPIENTS_HELD = Gauge("tocsin_dispatcher_recipients_held", "Paused, disabled or failing, with deliveries waiting")
CIRCUITS_OPENED = Counter("tocsin_dispatcher_circuits_opened_total", "Recipients that began to fail")
DELIVERIES_REJECTED = Counter(
    "tocsin_dispatcher_records_rejected_total", "Records that are no delivery, by reason; skipped", ["reason"]
)
TRANSACTIONS_FAILED = Counter(
    "tocsin_dispatcher_transactions_failed_total", "Transactions begun anew, by step", ["step"]
)
SENDING_FENCED = Gauge("tocsin_dispatcher_fenced", "1 while cut off from the broker: nothing new is sent")
SUPPRESSION_ERRORS = Counter(
    "tocsin_dispatcher_redis_errors_total", "Operations on Redis that failed or took too long; nothing is lost by them"
)
