//! Package size and cold start of each function, compared with a Python handler that creates boto3 clients.

use std::{
    io::{Read, Write},
    path::Path,
};

use flate2::{Compression, write::DeflateEncoder};
use tokio::process::Command;

use crate::{
    Error,
    function::{Function, STARTS, median},
    report::Report,
};

/// Lambda's limit for a zipped package that is uploaded directly, in MB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const PACKAGE: f64 = 50.0;

const FUNCTIONS: [&str; 6] = ["record", "watch", "mirror", "reconcile", "alert", "query"];

/// Measures the cold start of each function in a directory, in turns with the baseline.
pub(crate) async fn measure(functions: &Path, python: &Path, report: &mut Report) -> Result<(), Error> {
    let python = std::path::absolute(python)?;
    let policy = std::path::absolute("infra/policies/dev-follows-its-source.cedar")?;
    let policy = policy.display().to_string();
    let environment = [
        ("READ_ROLE", "reader"),
        ("DELETE_ROLE", "deleter"),
        ("POLICY_FILE", policy.as_str()),
        ("BUS_NAME", "alerts"),
        ("DEAD_LETTERS_URL", "http://127.0.0.1:1/111122223333/dead-letters"),
    ];
    let nowhere = "http://127.0.0.1:1";
    for name in FUNCTIONS {
        let function = functions.join(name);
        let (mut ours, mut theirs, mut memory) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..STARTS {
            let (process, start) = Function::start(Command::new(&function), "none", nowhere, &environment).await?;
            ours.push(start);
            memory = process.peak_mebibytes()?;
            let mut baseline = Command::new(&python);
            baseline.current_dir("benchmarks/baseline").args(["-m", "awslambdaric", "handler.handler"]);
            theirs.push(Function::start(baseline, "none", nowhere, &environment).await?.1);
        }
        report.alone(format!("{name}: package, zipped"), "MB", packed(&function)?, Some(PACKAGE));
        report.beside(&format!("{name}: cold start"), "ms", median(ours), median(theirs), 15.0);
        report.alone(format!("{name}: memory when ready"), "MiB", memory, None);
    }
    Ok(())
}

/// Size of a binary as uploaded, in MB: compressed as zip does.
#[expect(clippy::cast_precision_loss, reason = "some megabytes")]
fn packed(function: &Path) -> Result<f64, Error> {
    let mut binary = Vec::new();
    std::fs::File::open(function)?.read_to_end(&mut binary)?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&binary)?;
    Ok(encoder.finish()?.len() as f64 / 1e6)
}
