"""What was found: spectra, neurons, critical points, and slices through the loss."""
