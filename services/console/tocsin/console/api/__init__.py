"""`/api/v1`: what pages and CLI do, for programs."""
