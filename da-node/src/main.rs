//! The `da-node` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    da_node::commands::main(chain::RULES_VERSION)
}
