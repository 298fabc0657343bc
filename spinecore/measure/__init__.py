"""From a film to its angles: one function per film, and the run over many films."""
