"""Who may do what. Pure: no clock, no framework."""
