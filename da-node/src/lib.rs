//! Weft's validator and full node: storage, wiring, devnet.
