"""What erasing a folder needs besides an eraser: its pictures and masks, its flags, and the table of what was done."""
