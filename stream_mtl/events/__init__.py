"""What happened: raw records become columns of events, and time comes forward."""
