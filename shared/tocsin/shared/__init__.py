"""What crosses a topic, and nothing else: names, schemas, codecs, settings, telemetry."""
