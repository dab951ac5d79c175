//! One module a stack.

pub(super) mod celestia;
pub(super) mod op;
