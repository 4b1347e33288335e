"""The paper's numbers at the size of the original images."""
