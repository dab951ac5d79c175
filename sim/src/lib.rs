//! Questions about sampling that need a million light clients, answered with the real code.
