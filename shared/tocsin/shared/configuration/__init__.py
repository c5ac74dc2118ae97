"""Configuration as it lives in Kafka: the records, what they mean together, and how a process follows them."""
