"""When knowing becomes teaching: delayed-feedback methods over transitions (never imports torch)."""
