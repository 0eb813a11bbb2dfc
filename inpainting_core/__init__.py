"""What every inpainting diffusion model shares: masks, crops, latents, the noise schedule, weights, engines."""
