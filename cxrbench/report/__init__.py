"""One HTML file about some rows of a board: gathered, then laid out."""
