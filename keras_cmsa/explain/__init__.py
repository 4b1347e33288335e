"""What a model did with an expression: word by word, inside the network, in figures."""
