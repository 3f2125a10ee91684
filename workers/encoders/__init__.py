"""Frozen vision encoders: one file a family; patches of many pictures in, rows out."""
