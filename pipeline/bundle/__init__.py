"""The texts of a bundle: manifest.json and MODEL_CARD.md, and the order in which its files are made."""
