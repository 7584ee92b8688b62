"""What the service costs, as ratios to a baseline that is started in the same run."""
