"""Packing: which instances share a pack, in which order packs are written, and how good that is."""
