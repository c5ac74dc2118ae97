"""Per notification: how many systems match, out of how many reporting; opens, resolves and dismisses activations."""
