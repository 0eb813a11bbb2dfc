"""How a network does on pictures that it has never seen."""
