"""What computes a network that is not trained any more, and which way is the fastest here."""
