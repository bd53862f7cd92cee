"""A block on a topic is cut into records."""

from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.join.topic import cut


@given(st.lists(st.binary(max_size=30), max_size=6), st.integers(1, 40))
def test_pieces_are_the_buffers_in_their_order_and_no_longer_than_they_may_be(
    buffers: list[bytes], size: int
) -> None:
    whole = b"".join(buffers)
    pieces = [b"".join(piece) for piece in cut(map(memoryview, buffers), size)]
    assert pieces == ([whole[at : at + size] for at in range(0, len(whole), size)] or [b""])
