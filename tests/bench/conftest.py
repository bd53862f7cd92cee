"""Topics of a broker."""

from tests.topics import all_topics, topics

__all__ = ["all_topics", "topics"]
