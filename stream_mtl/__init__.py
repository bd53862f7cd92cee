"""Streaming multi-task scorer: from impressions, clicks and late conversions to served, watched scores."""

__version__ = "0.1.0.dev0"
