"""The paper's numbers and figures at the size of the original images."""
