"""Rules tried on readings that are already there: the detector's own judging, and notifications judged per instant."""
