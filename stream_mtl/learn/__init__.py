"""Examples to weights: features, batches, models, losses, trainer (torch begins here)."""
