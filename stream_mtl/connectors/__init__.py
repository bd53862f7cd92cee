"""Bytes in, bytes out: the ports Source and Sink, and memory and files behind them."""
