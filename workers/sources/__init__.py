"""Input formats: one file a format, each giving the samples of `workers.sources.sample`."""
