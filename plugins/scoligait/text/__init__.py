"""Text beside a walk: findings from features, and encoders of any text."""
