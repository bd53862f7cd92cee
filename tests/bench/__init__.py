"""Tests of the benches: that they run, at tiny sizes, and say what they should."""
