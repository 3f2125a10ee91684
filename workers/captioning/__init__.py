"""Captioning: what is asked of a vision-language model, how it is asked, and what becomes of it."""
