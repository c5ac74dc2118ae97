"""The wire models, one file a topic. Fields are added, never renamed; readers ignore what they don't know."""
