"""Topics of a broker, for the implementations that need one."""

from tests.topics import all_topics, own_topics, topics

__all__ = ["all_topics", "own_topics", "topics"]
