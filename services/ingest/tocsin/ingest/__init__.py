"""Readings come in: HTTP gateway, host agent, replay of files."""
