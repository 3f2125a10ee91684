"""One short file a golden kind: which policy answers it, and what its fields are here."""
