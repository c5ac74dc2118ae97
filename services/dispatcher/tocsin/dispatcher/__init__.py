"""Fans events out to recipients and delivers them."""
