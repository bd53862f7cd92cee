"""The command line beside a bus."""
