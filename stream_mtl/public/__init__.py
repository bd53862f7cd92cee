"""Public logs of late labels: from the files as they are published to event files and a configuration that fits."""
