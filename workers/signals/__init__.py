"""Signals: what is measured of pictures and texts, once, for clauses to decide on."""
