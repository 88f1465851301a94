"""What the bundles of tasks say: manifest.json, MODEL_CARD.md, and the recordings as events."""
