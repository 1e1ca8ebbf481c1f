//! The `ecr-lineage` command.

use std::process::ExitCode;

use clap::Parser;
use cli::options::Options;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(Options::parse()).await {
        Ok(code) => code,
        Err(failure) => {
            anstream::eprint!("{}", failure.report());
            ExitCode::FAILURE
        }
    }
}
