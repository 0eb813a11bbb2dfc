"""How picture and mask files are read and written; ``inpainting_core.picture_files`` is the door."""
