"""The processes: each builds its parts from the configuration and runs them until told to stop; one file a process."""
