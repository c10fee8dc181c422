"""What can be known of a Triton kernel without a card: its code, and a model of its time."""
