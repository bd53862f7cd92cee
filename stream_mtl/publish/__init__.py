"""Weights to something that a service may trust."""
