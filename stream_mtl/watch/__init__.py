"""Was it right: calibration, quality and reports over matured labels."""
