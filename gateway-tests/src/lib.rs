//! Nothing but tests: Celestia's client brings a second copy of Tendermint's crates, which stays out of what is built
//! unless asked for.
