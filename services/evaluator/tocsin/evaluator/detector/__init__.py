"""The detector: which sensors are triggered on which systems, at millions of readings a minute, exactly once."""
