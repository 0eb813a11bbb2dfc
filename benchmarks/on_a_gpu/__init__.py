"""What a machine with one card shows: speed, memory and agreement with the CPU, in one command (``__main__``)."""
