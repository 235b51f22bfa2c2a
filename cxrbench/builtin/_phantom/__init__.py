"""How the phantom's patients are drawn up and their films are drawn."""
