//! `da-node` as a build that knows one more version of the rules: the new program of the upgrade drill.
//!
//! No rule differs yet but `version.app` of the headers.

use std::process::ExitCode;

fn main() -> ExitCode {
    da_node::commands::main(chain::RULES_VERSION + 1)
}
