"""How workers are put together over Ray Data: the recipe, the stages, the block cache, publish."""
