"""Training of plugin models: one loop, exact resume, CSV log and curves."""
