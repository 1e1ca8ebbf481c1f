//! The `ecr-lineage` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let ran = match cli::help::parse() {
        Ok(options) => cli::run(options).await,
        Err(failure) => Err(failure),
    };
    match ran {
        Ok(code) => code,
        Err(failure) => {
            anstream::eprint!("{}", failure.report());
            ExitCode::FAILURE
        }
    }
}
