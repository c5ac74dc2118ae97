"""Rules tried before they are switched on: `check`, `test` and `backtest`."""
