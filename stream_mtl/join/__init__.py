"""What is known about one exposure, and what becomes true as time passes."""
