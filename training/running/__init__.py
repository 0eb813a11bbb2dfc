"""What the runs share: their steps, their flags, stopping and going on."""
