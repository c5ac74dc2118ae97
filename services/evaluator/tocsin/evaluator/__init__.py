"""Decides what is triggered (detector) and what is active (activator)."""
