"""What is done to a table, an image or a shard: pure functions and thin actor bodies, one file an
idea.
"""
