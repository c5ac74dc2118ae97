"""Pure: conditions, sensors, populations. State, input and now go in; state and output come out."""
