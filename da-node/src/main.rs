//! The `da-node` command.

use std::process::ExitCode;

/// Gives memory back that bodies and squares of many sizes leave in pieces; RocksDB's is from here as well.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    da_node::commands::main(chain::RULES_VERSION)
}
