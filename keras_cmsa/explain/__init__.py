"""How a model answers an expression: word by word, inside the network, in figures."""
