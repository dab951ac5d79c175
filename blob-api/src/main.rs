//! `blob`: price, submit, follow, read and prove blobs from the command line.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
