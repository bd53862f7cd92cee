"""A marketplace whose truth is known: events for tests, benches and a first look, from one seed."""
