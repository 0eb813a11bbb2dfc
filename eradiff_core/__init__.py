"""EraDiff (CVPR 2025): erasing along a calibrated diffusion path."""
