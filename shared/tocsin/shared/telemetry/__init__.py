"""Logs, metrics, health: the same in every process."""
