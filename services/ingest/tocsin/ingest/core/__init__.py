"""Pure: what is in a request, a recording or a sample of this host; no clock, socket or thread."""
