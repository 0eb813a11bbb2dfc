"""EraDiff (CVPR 2025): erasing along a calibrated diffusion path, and the ground both erasers stand on."""
