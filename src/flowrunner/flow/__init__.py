"""YAML flows: text to Program, with everything that is wrong said at its line and column."""
