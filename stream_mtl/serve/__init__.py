"""Scores while weights change."""
