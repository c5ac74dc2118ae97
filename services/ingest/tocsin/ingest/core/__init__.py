"""Pure: which readings are good, and why the others are not."""
