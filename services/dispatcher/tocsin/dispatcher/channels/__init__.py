"""The ways to a recipient: one file each, behind one Protocol and under one contract suite."""
