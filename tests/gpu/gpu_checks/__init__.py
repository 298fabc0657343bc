"""What the tests of tests/gpu share: where they run, and every operator with its oracle."""
