"""Side by side with peers, both sides in one run: what is compared is in docs/benchmarks.md."""
